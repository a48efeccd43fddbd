/* addon.h - what the files of zone.node share. Each function that JavaScript sees is listed in module.c. */
#ifndef ZONE_ADDON_H
#define ZONE_ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Throws Error {code, errno (negative, as Node's), syscall, path} and returns NULL. */
napi_value za_fail(napi_env env, int errnum, const char *syscall, const char *path);

/* Takes exactly n arguments. Like all readers below: throws TypeError or RangeError and returns false when it cannot. */
bool za_args(napi_env env, napi_callback_info info, size_t n, napi_value *argv);
bool za_int(napi_env env, napi_value value, int *out);
bool za_uint32(napi_env env, napi_value value, uint32_t *out);
bool za_int64(napi_env env, napi_value value, int64_t *out);
/* A string without NUL, of less than `size` bytes in UTF-8. */
bool za_string(napi_env env, napi_value value, char *out, size_t size);
bool za_bytes(napi_env env, napi_value value, uint8_t **data, size_t *length);
/* The same for a typed array of another kind; `length` counts its elements. */
bool za_words(napi_env env, napi_value value, napi_typedarray_type wanted, void **data, size_t *length);
/* A file's name: a string, or bytes when it is not UTF-8. */
bool za_name(napi_env env, napi_value value, char *out, size_t size);
bool za_bool(napi_env env, napi_value value, bool *out);
bool za_bigint64(napi_env env, napi_value value, int64_t *out);
bool za_biguint64(napi_env env, napi_value value, uint64_t *out);

napi_value za_number(napi_env env, int64_t number);
napi_value za_undefined(napi_env env);
/* A plain object of numbers: names and values, n of each. */
napi_value za_object(napi_env env, size_t n, const char *const *names, const int64_t *values);

/* descriptors.c */
napi_value za_pipe(napi_env env, napi_callback_info info);
napi_value za_socket_pair(napi_env env, napi_callback_info info);
napi_value za_dup(napi_env env, napi_callback_info info);
napi_value za_close_fd(napi_env env, napi_callback_info info);
napi_value za_assert_pollable(napi_env env, napi_callback_info info);
napi_value za_read_available(napi_env env, napi_callback_info info);
/* files.c */
napi_value za_memfd(napi_env env, napi_callback_info info);
napi_value za_memfd_from_file(napi_env env, napi_callback_info info);
/* paths.c */
napi_value za_open_in_root(napi_env env, napi_callback_info info);
napi_value za_open_at(napi_env env, napi_callback_info info);
napi_value za_rename_at(napi_env env, napi_callback_info info);
napi_value za_mkdir_at(napi_env env, napi_callback_info info);
napi_value za_unlink_at(napi_env env, napi_callback_info info);
napi_value za_symlink_at(napi_env env, napi_callback_info info);
napi_value za_link_at(napi_env env, napi_callback_info info);
napi_value za_chown_at(napi_env env, napi_callback_info info);
napi_value za_mknod_at(napi_env env, napi_callback_info info);
napi_value za_readlink_at(napi_env env, napi_callback_info info);
napi_value za_set_times(napi_env env, napi_callback_info info);
napi_value za_seek_sparse(napi_env env, napi_callback_info info);
/* mounts.c */
napi_value za_fs_open(napi_env env, napi_callback_info info);
napi_value za_fs_pick(napi_env env, napi_callback_info info);
napi_value za_fs_config(napi_env env, napi_callback_info info);
napi_value za_fs_create(napi_env env, napi_callback_info info);
napi_value za_fs_reconfigure(napi_env env, napi_callback_info info);
napi_value za_fs_mount(napi_env env, napi_callback_info info);
napi_value za_open_tree(napi_env env, napi_callback_info info);
napi_value za_move_mount(napi_env env, napi_callback_info info);
napi_value za_set_mount_attributes(napi_env env, napi_callback_info info);
/* filesystems.c */
napi_value za_fs_call(napi_env env, napi_callback_info info);
napi_value za_fs_call_async(napi_env env, napi_callback_info info);
napi_value za_block_device_bytes(napi_env env, napi_callback_info info);
/* netlink.c */
napi_value za_netlink_open(napi_env env, napi_callback_info info);
napi_value za_netlink_send(napi_env env, napi_callback_info info);
napi_value za_netlink_receive(napi_env env, napi_callback_info info);
/* inotify.c */
napi_value za_inotify_open(napi_env env, napi_callback_info info);
napi_value za_inotify_watch(napi_env env, napi_callback_info info);
/* devices.c */
napi_value za_attach_device_policy(napi_env env, napi_callback_info info);
napi_value za_detach_device_policy(napi_env env, napi_callback_info info);
/* seccomp.c */
napi_value za_seccomp_open(napi_env env, napi_callback_info info);
napi_value za_seccomp_architecture(napi_env env, napi_callback_info info);
napi_value za_seccomp_rule(napi_env env, napi_callback_info info);
napi_value za_seccomp_export(napi_env env, napi_callback_info info);
napi_value za_seccomp_close(napi_env env, napi_callback_info info);
/* pty.c */
napi_value za_open_pty(napi_env env, napi_callback_info info);
napi_value za_open_pty_slave(napi_env env, napi_callback_info info);
napi_value za_set_window_size(napi_env env, napi_callback_info info);
napi_value za_tty_eof_character(napi_env env, napi_callback_info info);
/* system.c */
napi_value za_mount(napi_env env, napi_callback_info info);
napi_value za_unmount(napi_env env, napi_callback_info info);
napi_value za_make_node(napi_env env, napi_callback_info info);
napi_value za_set_time(napi_env env, napi_callback_info info);
napi_value za_add_entropy(napi_env env, napi_callback_info info);
napi_value za_set_hostname(napi_env env, napi_callback_info info);
napi_value za_load_module(napi_env env, napi_callback_info info);
/* sockets.c */
napi_value za_peer_credentials(napi_env env, napi_callback_info info);
napi_value za_send_packet(napi_env env, napi_callback_info info);
napi_value za_receive_packet(napi_env env, napi_callback_info info);
napi_value za_socket_error(napi_env env, napi_callback_info info);
napi_value za_vsock_socket(napi_env env, napi_callback_info info);
napi_value za_vsock_connect(napi_env env, napi_callback_info info);
napi_value za_vsock_listen(napi_env env, napi_callback_info info);
napi_value za_vsock_accept(napi_env env, napi_callback_info info);
napi_value za_vsock_local_cid(napi_env env, napi_callback_info info);
/* poll.c */
napi_value za_poll_start(napi_env env, napi_callback_info info);
napi_value za_poll_update(napi_env env, napi_callback_info info);
napi_value za_poll_stop(napi_env env, napi_callback_info info);

#endif
