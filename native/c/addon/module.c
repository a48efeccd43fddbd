/* module.c - the functions of zone.node; native/src/addon.ts has their types. */
#include "addon.h"

static const struct {
	const char *name;
	napi_callback call;
} functions[] = {
	{"pipe", za_pipe},
	{"socketPair", za_socket_pair},
	{"dup", za_dup},
	{"closeFd", za_close_fd},
	{"assertPollable", za_assert_pollable},
	{"readAvailable", za_read_available},
	{"memfd", za_memfd},
	{"memfdFromFile", za_memfd_from_file},
	{"openInRoot", za_open_in_root},
	{"openAt", za_open_at},
	{"renameAt", za_rename_at},
	{"mkdirAt", za_mkdir_at},
	{"unlinkAt", za_unlink_at},
	{"symlinkAt", za_symlink_at},
	{"linkAt", za_link_at},
	{"chownAt", za_chown_at},
	{"mknodAt", za_mknod_at},
	{"readlinkAt", za_readlink_at},
	{"setTimes", za_set_times},
	{"seekSparse", za_seek_sparse},
	{"fsOpen", za_fs_open},
	{"fsPick", za_fs_pick},
	{"fsConfig", za_fs_config},
	{"fsCreate", za_fs_create},
	{"fsReconfigure", za_fs_reconfigure},
	{"fsMount", za_fs_mount},
	{"openTree", za_open_tree},
	{"moveMount", za_move_mount},
	{"setMountAttributes", za_set_mount_attributes},
	{"fsCall", za_fs_call},
	{"fsCallAsync", za_fs_call_async},
	{"blockDeviceBytes", za_block_device_bytes},
	{"netlinkOpen", za_netlink_open},
	{"netlinkSend", za_netlink_send},
	{"netlinkReceive", za_netlink_receive},
	{"inotifyOpen", za_inotify_open},
	{"inotifyWatch", za_inotify_watch},
	{"attachDevicePolicy", za_attach_device_policy},
	{"detachDevicePolicy", za_detach_device_policy},
	{"seccompOpen", za_seccomp_open},
	{"seccompArchitecture", za_seccomp_architecture},
	{"seccompRule", za_seccomp_rule},
	{"seccompExport", za_seccomp_export},
	{"seccompClose", za_seccomp_close},
	{"openPty", za_open_pty},
	{"openPtySlave", za_open_pty_slave},
	{"setWindowSize", za_set_window_size},
	{"ttyEofCharacter", za_tty_eof_character},
	{"mount", za_mount},
	{"unmount", za_unmount},
	{"makeNode", za_make_node},
	{"setTime", za_set_time},
	{"addEntropy", za_add_entropy},
	{"setHostname", za_set_hostname},
	{"loadModule", za_load_module},
	{"peerCredentials", za_peer_credentials},
	{"sendPacket", za_send_packet},
	{"receivePacket", za_receive_packet},
	{"socketError", za_socket_error},
	{"vsockSocket", za_vsock_socket},
	{"vsockConnect", za_vsock_connect},
	{"vsockListen", za_vsock_listen},
	{"vsockAccept", za_vsock_accept},
	{"vsockLocalCid", za_vsock_local_cid},
	{"pollStart", za_poll_start},
	{"pollUpdate", za_poll_update},
	{"pollStop", za_poll_stop},
};

NAPI_MODULE_INIT()
{
	for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
		napi_value function;
		if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &function) != napi_ok ||
		    napi_set_named_property(env, exports, functions[i].name, function) != napi_ok)
			return NULL;
	}
	return exports;
}
