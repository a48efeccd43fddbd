import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { must, repository } from "@zone/test/harness";

/** What the bare transport does: a C program on the guest's virtio-serial port, the same kernel, the same QEMU. */
export interface RawPort {
  /** Milliseconds of one round trip. */
  ping(): Promise<void>;
  /** Moves bytes out of the guest, or into it in writes of `chunk`. */
  receive(bytes: number): Promise<void>;
  send(bytes: number, chunk: number): Promise<void>;
  close(): Promise<void>;
}

/** Boots the zone image's kernel with the baseline program as its init. */
export async function bootRawPort(): Promise<RawPort> {
  const folder = mkdtempSync(join(tmpdir(), "zone-raw-"));
  const image = join(repository, ".cache", "image", "current");
  const program = join(folder, "init");
  await must("gcc", ["-std=c11", "-Os", "-static", "-o", program, join(repository, "bench", "raw", "raw-port.c")]);
  const initramfs = join(folder, "initramfs");
  copyFileSync(join(image, "initramfs.cpio"), initramfs);
  // The kernel unpacks archives one after another; the later /init wins.
  const overlay = execFileSync("cpio", ["-o", "-H", "newc", "--quiet"], { cwd: folder, input: "init\n" });
  appendFileSync(initramfs, overlay);
  const socketPath = join(folder, "port");
  const vmm = spawn(
    "qemu-system-x86_64",
    [
      ...[
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-machine",
        "pc",
        "-cpu",
        "max",
        "-m",
        "128M",
      ],
      ...["-accel", "tcg,thread=multi", "-kernel", join(image, "vmlinuz"), "-initrd", initramfs],
      ...["-append", "quiet no_timer_check tsc=reliable panic=-1", "-device", "virtio-serial-pci"],
      ...["-chardev", `socket,id=link,path=${socketPath},server=on,wait=off`],
      ...["-device", "virtserialport,chardev=link,name=zone.link"],
    ],
    { stdio: "ignore" },
  );
  const exited = once(vmm, "exit");
  const socket = await connected(socketPath);
  await talk(socket, "P\n", 2);
  return {
    ping: () => talk(socket, "P\n", 2),
    receive: (bytes) => talk(socket, `S ${bytes}\n`, bytes),
    async send(bytes, chunk) {
      const answered = take(socket, 2);
      socket.write(`R ${bytes}\n`);
      const block = Buffer.alloc(chunk);
      for (let sent = 0; sent < bytes; sent += chunk) {
        if (!socket.write(block.subarray(0, Math.min(chunk, bytes - sent)))) await once(socket, "drain");
      }
      await answered;
    },
    async close() {
      socket.destroy();
      vmm.kill("SIGKILL");
      await exited;
      rmSync(folder, { recursive: true });
    },
  };
}

async function talk(socket: Socket, request: string, answer: number): Promise<void> {
  const taken = take(socket, answer);
  socket.write(request);
  await taken;
}

/** Settles when that many bytes have come. */
function take(socket: Socket, bytes: number): Promise<void> {
  return new Promise((resolve) => {
    let left = bytes;
    const count = (data: Buffer) => {
      left -= data.length;
      if (left > 0) return;
      socket.off("data", count);
      resolve();
    };
    socket.on("data", count);
  });
}

async function connected(path: string): Promise<Socket> {
  for (;;) {
    const socket = connect(path);
    try {
      await once(socket, "connect");
      return socket;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
