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
	{"openPty", za_open_pty},
	{"setWindowSize", za_set_window_size},
	{"ttyEofCharacter", za_tty_eof_character},
	{"mount", za_mount},
	{"unmount", za_unmount},
	{"makeNode", za_make_node},
	{"setTime", za_set_time},
	{"addEntropy", za_add_entropy},
	{"setHostname", za_set_hostname},
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
