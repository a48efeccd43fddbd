import type { DomainDisk, DomainNetwork, DomainShare } from "./driver.js";
import type { InheritedFiles } from "./inherited-files.js";
import {
  type Accelerator,
  type Disk,
  kernelCommandLine,
  PLACEHOLDERS,
  type QemuConfig,
  type Room,
} from "./qemu-args.js";
import type { ZoneImage } from "./zone-image.js";

/** What a machine is besides its disks; the same for a template and its clones. */
export interface MachineShape {
  accelerator: Accelerator;
  memoryBytes: number;
  vcpus: number;
  room: Room;
}

/** How a guest gets to run. Descriptors are the bridge's. */
export type Start =
  | { kind: "boot" }
  /** Boots with its memory in a file, to be saved. */
  | { kind: "template"; memoryFd: number }
  | { kind: "clone"; memoryFd: number; stateFd: number };

export interface LaunchSpec {
  /** Names the domain's folder. */
  id: string;
  shape: MachineShape;
  image: ZoneImage;
  disks: DomainDisk[];
  start: Start;
  shares?: DomainShare[];
  network?: DomainNetwork;
  /** What the domain may have at most, within the shape's room; absent: what it starts with. */
  maxMemoryBytes?: number;
  maxVcpus?: number;
}

/** What a machine is connected to. */
export interface Connections {
  /** A connected socket, the bridge's; undefined for an interface that leads nowhere. */
  networkFd: number | undefined;
  /** Unix sockets in the domain's folder. */
  shareSockets: string[];
}

/** With the state's descriptor in the VMM, for a clone. */
export type MachineConfig = QemuConfig & { stateFd: number | undefined };

/** Opens what the machine needs into `files` and says how it is made of them. */
export async function machineConfig(
  spec: LaunchSpec,
  { networkFd, shareSockets }: Connections,
  files: InheritedFiles,
): Promise<MachineConfig> {
  const { start, shape, image } = spec;
  const disks: Disk[] = [{ serial: "zone-root", fd: await files.add(image.root), readOnly: true }];
  // What a guest learnt of a placeholder is that it is read-only.
  if (spec.disks[0]?.readOnly === false) disks.push({ serial: "w0", fd: undefined, readOnly: true });
  for (const { path, serial, readOnly = true } of spec.disks)
    disks.push({ serial, fd: await files.add(path, readOnly ? "r" : "r+"), readOnly });
  while (disks.length <= PLACEHOLDERS) disks.push({ serial: `w${disks.length - 1}`, fd: undefined, readOnly: true });
  // A clone has just the devices that its template had; a machine that boots may have all from the start.
  const fromStart = start.kind === "clone" ? 1 + PLACEHOLDERS : disks.length;
  const base = {
    name: spec.id,
    ...shape,
    disks: disks.slice(0, fromStart),
    laterDisks: disks.slice(fromStart),
    networkFd: networkFd === undefined ? undefined : files.addDescriptor(networkFd),
    shareSockets,
    stateFd: undefined,
  };
  switch (start.kind) {
    case "clone":
      return {
        ...base,
        memory:
          shareSockets.length > 0 ? { kind: "shared" } : { kind: "clone", fd: await files.addOwn(start.memoryFd) },
        boot: { kind: "incoming" },
        stateFd: await files.addOwn(start.stateFd),
      };
    case "template":
      return {
        ...base,
        memory: { kind: "template", fd: await files.addOwn(start.memoryFd, "r+") },
        boot: await kernelBoot(spec, files),
      };
    case "boot":
      return {
        ...base,
        memory: { kind: shareSockets.length > 0 ? "shared" : "private" },
        boot: await kernelBoot(spec, files),
      };
  }
}

async function kernelBoot({ image, shape, start }: LaunchSpec, files: InheritedFiles): Promise<QemuConfig["boot"]> {
  return {
    kind: "kernel",
    kernelFd: await files.add(image.kernel),
    initramfsFd: await files.add(image.initramfs),
    commandLine: kernelCommandLine({
      accelerator: shape.accelerator,
      image,
      template: start.kind === "template",
    }),
  };
}
