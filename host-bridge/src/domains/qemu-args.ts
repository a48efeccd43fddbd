import { diskDevice, diskNode } from "./qemu-disk.js";

/** How guest code runs: by the host's kernel, or emulated. */
export type Accelerator = "kvm" | "tcg";

/**
 * What the workload's disk is in a template, until a clone puts a real one there: a read-only disk of zeros whose size the guest
 * has learnt. The clone's disk is smaller, and reads beyond its end fail; an erofs never makes them.
 */
const PLACEHOLDER_BYTES = 2 ** 40;

/** Translated code that QEMU keeps: what a zone under emulation may cost the host beyond its memory. QEMU's own default is 1 GiB. */
const TRANSLATED_MIB = 128;

/** Disks named "w0" up to here exist in every domain; further ones are hot-plugged into clones. */
export const PLACEHOLDERS = 1;

/** Where a domain's memory is. Descriptors are the VMM's own numbers. */
export type Memory =
  /** Its own, gone with it. */
  | { kind: "private" }
  /** In the file, which becomes a template. */
  | { kind: "template"; fd: number }
  /** Copy-on-write over the template's file: a sealed memfd, so that no VMM can change it for its siblings. */
  | { kind: "clone"; fd: number }
  /** Its own, in a memfd of QEMU's that other processes of the domain map too (vhost-user). */
  | { kind: "shared" };

export interface Disk {
  serial: string;
  /** Descriptor of the file, open as `readOnly` says; absent for a placeholder. */
  fd: number | undefined;
  readOnly: boolean;
}

export interface QemuConfig {
  /** For people who read `ps`. */
  name: string;
  accelerator: Accelerator;
  memoryBytes: number;
  vcpus: number;
  /** What memory and vCPUs can be plugged in up to. */
  room: Room;
  memory: Memory;
  /** There from the start: the zone's root first, then the workload's. */
  disks: Disk[];
  /** Handed over, to be attached with `diskPlugCommands`. */
  laterDisks: Disk[];
  /** A connected socket for frames, as "-netdev stream" speaks; undefined: the interface is connected to nothing. */
  networkFd: number | undefined;
  /** Unix sockets that vhost-user servers listen at, in the domain's folder; devices are plugged in later. */
  shareSockets: string[];
  /** A clone has the kernel in its memory already. */
  boot: { kind: "kernel"; kernelFd: number; initramfsFd: number; commandLine: string } | { kind: "incoming" };
}

/** The most that a machine can have. */
export interface Room {
  memoryBytes: number;
  vcpus: number;
}

/** How often memory can be plugged in. */
const MEMORY_SLOTS = 32;

/**
 * Of every zone's interface: it is part of a template's state, so clones cannot differ, and need not, since no two zones are ever
 * on one segment. Locally administered ("zne").
 */
export const HARDWARE_ADDRESS = "02:7a:6e:65:00:01";

/** PCI slots: 2 and 3 are pvpanic and the ports, disks follow; these are at the end. Between them things are plugged in. */
const NETWORK_SLOT = 0x1e;
const BALLOON_SLOT = 0x1f;

/** Sockets in a domain's folder. QEMU makes them by name in its working directory: it may have no right on the folders above. */
const SOCKETS = { qmp: "qmp.sock", link: "link.sock", console: "console.sock" } as const;

/** The sockets of the domain in `directory`, by path. */
export function socketPaths(directory: string): Record<keyof typeof SOCKETS, string> {
  return {
    qmp: `${directory}/${SOCKETS.qmp}`,
    link: `${directory}/${SOCKETS.link}`,
    console: `${directory}/${SOCKETS.console}`,
  };
}

/**
 * QEMU's argv without the program. Pure: the same config always gives the same machine, which is what lets the state of one be
 * loaded by another. The guest is stopped until QMP's `cont`.
 */
export function qemuArgs(config: QemuConfig): string[] {
  const { accelerator } = config;
  return [
    ...["-name", `guest=${quote(config.name)}`],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-S"],
    // No new program, no gained privilege, no other scheduling: what a broken-out guest could want first.
    ...["-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"],
    ...["-machine", "pc,usb=off,vmport=off,smbus=off,hpet=off,i8042=off,graphics=off,memory-backend=ram"],
    ...["-accel", accelerator === "kvm" ? "kvm" : `tcg,thread=multi,tb-size=${TRANSLATED_MIB}`],
    ...["-cpu", cpuModel(accelerator)],
    ...["-smp", `cpus=${config.vcpus},maxcpus=${config.room.vcpus}`],
    ...[
      "-m",
      `size=${mebibytes(config.memoryBytes)}M,slots=${MEMORY_SLOTS},maxmem=${mebibytes(config.room.memoryBytes)}M`,
    ],
    ...["-object", memoryBackend(config)],
    ...["-chardev", listening("qmp"), "-mon", "chardev=qmp,mode=control"],
    ...["-chardev", listening("console"), "-serial", "chardev:console"],
    ...["-chardev", listening("link")],
    // Two ports (the first is reserved for a console) instead of 31: the guest allocates queues for all.
    ...["-device", "virtio-serial-pci,id=ports,addr=3,max_ports=2,disable-legacy=on"],
    ...["-device", "virtserialport,id=link,bus=ports.0,nr=1,chardev=link,name=zone.link"],
    ...config.disks.flatMap(diskArgs),
    ...config.laterDisks.flatMap(({ fd }) => (fd === undefined ? [] : addFd(fd))),
    ...networkArgs(config.networkFd),
    // Gives back what the guest does not use, and takes memory when it is to shrink; the guest may have it back before it kills.
    ...[
      "-device",
      `virtio-balloon-pci,id=balloon,addr=${BALLOON_SLOT.toString(16)},free-page-reporting=on,deflate-on-oom=on,disable-legacy=on`,
    ],
    ...config.shareSockets.flatMap((path, index) => ["-chardev", `socket,id=${shareChardev(index)},path=${path}`]),
    // Tells a kernel with CONFIG_VMGENID that it was cloned. Debian's cloud kernel has none: System.Renew does it there.
    ...["-device", "vmgenid,guid=auto", "-device", "pvpanic-pci,addr=2"],
    ...bootArgs(config.boot),
  ];
}

/** Everything that this VMM offers to the guest: stable between a template and its clones on one host. */
export function cpuModel(accelerator: Accelerator): string {
  return accelerator === "kvm" ? "host" : "max";
}

/** QEMU takes whole MiB: `memoryBytes` rounded up. */
export function mebibytes(memoryBytes: number): number {
  return Math.ceil(memoryBytes / 2 ** 20);
}

/** What the kernel of a zone is told: the image's options and the zone's own. */
export function kernelCommandLine(options: {
  accelerator: Accelerator;
  image: { commandLine: string; version: string };
  template: boolean;
}): string {
  const { accelerator, image, template } = options;
  return [
    image.commandLine,
    // A machine without a keyboard controller is reset by a triple fault at once; by trying the controller, after seconds.
    "reboot=t",
    // Room for memory above 4 GiB makes a kernel set 64 MiB aside for devices that cannot reach it. There is none.
    "swiotlb=noforce",
    // Under emulation the guest's barriers against speculation only cost.
    ...(accelerator === "tcg" ? ["mitigations=off"] : []),
    "zone.link=serial:zone.link",
    `zone.image=${image.version}`,
    ...(template ? ["zone.template=1"] : []),
  ].join(" ");
}

/** The id of the chardev for the share of that number. */
export function shareChardev(index: number): string {
  return `fs-${index}`;
}

function listening(name: keyof typeof SOCKETS): string {
  return `socket,id=${name},path=${SOCKETS[name]},server=on,wait=off`;
}

function memoryBackend({ memory, memoryBytes }: QemuConfig): string {
  // Not merged with other zones' pages (a side channel), and not in core dumps.
  const common = `id=ram,size=${mebibytes(memoryBytes)}M,merge=off,dump=off`;
  if (memory.kind === "private") return `memory-backend-ram,${common}`;
  if (memory.kind === "shared") return `memory-backend-memfd,${common},share=on`;
  return `memory-backend-file,${common},share=${memory.kind === "template" ? "on" : "off"},mem-path=${inherited(memory.fd)}`;
}

function networkArgs(fd: number | undefined): string[] {
  const backend = fd === undefined ? "hubport,id=net,hubid=0" : `stream,id=net,server=off,addr.type=fd,addr.str=${fd}`;
  const device = `virtio-net-pci,id=nic,addr=${NETWORK_SLOT.toString(16)},netdev=net,mac=${HARDWARE_ADDRESS}`;
  return ["-netdev", backend, "-device", `${device},romfile=,disable-legacy=on`];
}

function diskArgs({ serial, fd, readOnly }: Disk, index: number): string[] {
  const device = `virtio-blk-pci,id=${diskDevice(quote(serial))},addr=0x${(4 + index).toString(16)},drive=${quote(serial)},serial=${quote(serial)},disable-legacy=on,werror=report,rerror=report`;
  if (fd === undefined) {
    const node = `node-name=${quote(serial)},read-only=on`;
    return ["-blockdev", `null-co,${node},size=${PLACEHOLDER_BYTES},read-zeroes=on`, "-device", device];
  }
  // In JSON, as the monitor takes it too.
  return [...addFd(fd), "-blockdev", JSON.stringify(diskNode(serial, fd, readOnly)), "-device", device];
}

function bootArgs(boot: QemuConfig["boot"]): string[] {
  if (boot.kind === "incoming") return ["-incoming", "defer"];
  const { kernelFd, initramfsFd, commandLine } = boot;
  return ["-kernel", inherited(kernelFd), "-initrd", inherited(initramfsFd), "-append", commandLine];
}

/** The path by which QEMU opens a descriptor that it inherited: needs no right on the file's folders. */
function inherited(fd: number): string {
  return `/proc/self/fd/${fd}`;
}

/** Makes a descriptor known to QEMU's block layer, in a set that has its number. */
function addFd(fd: number): string[] {
  return ["-add-fd", `fd=${fd},set=${fd}`];
}

/** A value in QEMU's option syntax: a comma is written twice. */
function quote(value: string): string {
  return value.replaceAll(",", ",,");
}
