import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { kernelCommandLine, mebibytes, type QemuConfig, qemuArgs, socketPaths } from "./qemu-args.js";
import { diskDeviceAdd, diskNode } from "./qemu-disk.js";

const MIB = 2 ** 20;
const config: QemuConfig = {
  name: "0123",
  accelerator: "tcg",
  memoryBytes: 256 * MIB,
  vcpus: 2,
  room: { memoryBytes: 1024 * MIB, vcpus: 8 },
  memory: { kind: "private" },
  disks: [
    { serial: "zone-root", fd: 3, readOnly: true },
    { serial: "w0", fd: undefined, readOnly: true },
  ],
  laterDisks: [],
  networkFd: undefined,
  shareSockets: [],
  boot: { kind: "kernel", kernelFd: 4, initramfsFd: 5, commandLine: "quiet a=b,c" },
};

/** The values of an option, in order. */
function values(args: string[], option: string): string[] {
  return args.flatMap((argument, i) => (argument === option ? [args[i + 1] ?? ""] : []));
}

describe("qemuArgs", () => {
  it("sandboxes, starts stopped, and has no default device, file or screen", () => {
    const args = qemuArgs(config);
    for (const flag of ["-nodefaults", "-no-user-config", "-no-reboot", "-S"]) expect(args).toContain(flag);
    expect(values(args, "-display")).toEqual(["none"]);
    expect(values(args, "-sandbox")).toEqual([
      "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
    ]);
  });

  it("boots a kernel from inherited descriptors", () => {
    const args = qemuArgs(config);
    expect(values(args, "-kernel")).toEqual(["/proc/self/fd/4"]);
    expect(values(args, "-initrd")).toEqual(["/proc/self/fd/5"]);
    expect(values(args, "-append")).toEqual(["quiet a=b,c"]);
    expect(values(args, "-object")).toEqual(["memory-backend-ram,id=ram,size=256M,merge=off,dump=off"]);
  });

  it("gives a clone the memory of its template, privately, and no kernel", () => {
    const args = qemuArgs({ ...config, memory: { kind: "clone", fd: 7 }, boot: { kind: "incoming" } });
    expect(values(args, "-object")[0]).toBe(
      "memory-backend-file,id=ram,size=256M,merge=off,dump=off,share=off,mem-path=/proc/self/fd/7",
    );
    expect(values(args, "-incoming")).toEqual(["defer"]);
    expect(args).not.toContain("-kernel");
  });

  it("differs between a template and its clone in memory, boot and the placeholder's backing alone", () => {
    const template = qemuArgs({ ...config, memory: { kind: "template", fd: 7 } });
    const clone = qemuArgs({
      ...config,
      memory: { kind: "clone", fd: 7 },
      boot: { kind: "incoming" },
      disks: config.disks.map((disk) => ({ ...disk, fd: disk.fd ?? 9 })),
    });
    for (const option of ["-machine", "-accel", "-cpu", "-smp", "-m", "-device", "-chardev"]) {
      expect(values(clone, option)).toEqual(values(template, option));
    }
  });

  it("knows disks by descriptor only, and later ones too", () => {
    const args = qemuArgs({ ...config, laterDisks: [{ serial: "w1", fd: 12, readOnly: true }] });
    expect(values(args, "-add-fd")).toEqual(["fd=3,set=3", "fd=12,set=12"]);
    const [root, placeholder, ...others] = values(args, "-blockdev");
    expect(JSON.parse(root ?? "")).toEqual(diskNode("zone-root", 3, true));
    expect(placeholder).toContain("null-co,node-name=w0,read-only=on");
    expect(others).toEqual([]);
  });

  it("lets a guest write to a disk only where that is said, under QEMU's own lock, and be told of errors", () => {
    expect(diskNode("v", 12, true)).toMatchObject({ "read-only": true, file: { "read-only": true, locking: "off" } });
    expect(diskNode("v", 12, false)).toMatchObject({
      "node-name": "v",
      "read-only": false,
      discard: "unmap",
      file: { filename: "/dev/fdset/12", "read-only": false, "auto-read-only": false, discard: "unmap", locking: "on" },
    });
    expect(diskDeviceAdd("v")).toMatchObject({ id: "disk-v", drive: "v", serial: "v", werror: "report" });
  });

  it("has an interface and a balloon always, and room to grow", () => {
    const args = qemuArgs(config);
    expect(values(args, "-netdev")).toEqual(["hubport,id=net,hubid=0"]);
    expect(values(qemuArgs({ ...config, networkFd: 9 }), "-netdev")).toEqual([
      "stream,id=net,server=off,addr.type=fd,addr.str=9",
    ]);
    const devices = values(args, "-device");
    expect(devices.filter((device) => device.startsWith("virtio-net-pci,"))).toHaveLength(1);
    expect(devices.find((device) => device.startsWith("virtio-balloon-pci,"))).toContain("free-page-reporting=on");
    expect(values(args, "-smp")).toEqual(["cpus=2,maxcpus=8"]);
    expect(values(args, "-m")).toEqual(["size=256M,slots=32,maxmem=1024M"]);
  });

  it("gives a machine with shares memory that others can map", () => {
    const args = qemuArgs({ ...config, memory: { kind: "shared" }, shareSockets: ["fs-0.sock"] });
    expect(values(args, "-object")).toEqual(["memory-backend-memfd,id=ram,size=256M,merge=off,dump=off,share=on"]);
    expect(values(args, "-chardev")).toContain("socket,id=fs-0,path=fs-0.sock");
  });

  it("writes PCI addresses as QEMU reads them, in hexadecimal", () => {
    const disks = Array.from({ length: 8 }, (_, i) => ({ serial: `w${i}`, fd: undefined, readOnly: true }));
    expect(
      values(qemuArgs({ ...config, disks }), "-device").filter((device) => device.includes("addr=0xa,")),
    ).toHaveLength(1);
  });

  it("doubles commas in names", () => {
    expect(values(qemuArgs({ ...config, name: "a,b" }), "-name")).toEqual(["guest=a,,b"]);
  });

  it("asks KVM for the host's processor", () => {
    const args = qemuArgs({ ...config, accelerator: "kvm" });
    expect([values(args, "-accel"), values(args, "-cpu")]).toEqual([["kvm"], ["host"]]);
  });

  it("is understood by the installed QEMU", async () => {
    // -version ends QEMU after the whole command line has been split into options.
    const args = qemuArgs({
      ...config,
      boot: { kind: "incoming" },
      disks: [{ serial: "w0", fd: undefined, readOnly: true }],
    });
    const { stdout } = await promisify(execFile)("qemu-system-x86_64", [...args, "-version"]);
    expect(stdout).toContain("QEMU emulator");
  });
});

describe("kernelCommandLine", () => {
  const image = { commandLine: "quiet", version: "v1" };
  it("adds what is the zone's own", () => {
    expect(kernelCommandLine({ accelerator: "kvm", image, template: false })).toBe(
      "quiet reboot=t swiotlb=noforce zone.link=serial:zone.link zone.image=v1",
    );
    expect(kernelCommandLine({ accelerator: "tcg", image, template: true })).toBe(
      "quiet reboot=t swiotlb=noforce mitigations=off zone.link=serial:zone.link zone.image=v1 zone.template=1",
    );
  });
});

it("rounds memory up to MiB", () => {
  expect([mebibytes(256 * MIB), mebibytes(256 * MIB + 1), mebibytes(1)]).toEqual([256, 257, 1]);
});

it("names sockets in the folder", () => {
  expect(socketPaths("/run/x")).toEqual({
    qmp: "/run/x/qmp.sock",
    link: "/run/x/link.sock",
    console: "/run/x/console.sock",
  });
});
