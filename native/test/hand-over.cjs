// The agent of the tests: gives its control socket to the test, which then speaks for it, and lives until it is killed.
const net = require("node:net");
const addon = require(process.env.TEST_ADDON);

const CONTROL_FD = 3;
const socket = net.connect(process.env.TEST_SOCKET, () => {
  addon.sendPacket(socket._handle.fd, Buffer.from(`${process.pid}\n`), [CONTROL_FD]);
  addon.closeFd(CONTROL_FD); // the test's is the only one
});
socket.on("close", () => process.exit(0));
socket.resume();
