import { join } from "node:path";
import type { OciConfig } from "./oci/config.js";
import type { Bundle } from "./oci/crun.js";
import type { SeccompProfile } from "./seccomp/profile.js";
import type { ContainerState, KeptContainer } from "./state.js";

/** A container, as the table keeps it. */
export interface Container extends Readonly<ContainerState> {
  /** Its folder: /run/zone/containers/ID. */
  readonly base: string;
  readonly rootfs: string;
  /** The folder of its cgroup; undefined where there is no cgroup2. */
  readonly cgroupPath: string | undefined;
  /** A descriptor of that. Undefined also when it could not be made again: nothing may start in the container then. */
  cgroup: number | undefined;
  /** Undefined: no filter, or a bundle's. */
  readonly profile: SeccompProfile | undefined;
  /** Undefined: it is of the zone's own making. */
  readonly config: OciConfig | undefined;
  /** Its init has ended, at least once. */
  stopped: boolean;
  /** OOM kills in it, as they were counted last. */
  oomKills: number;
}

/** ContainerState of container.proto. */
export const STATES = { created: 1, running: 2, paused: 3, stopped: 4 } as const;

/** A container of what its folder says. */
export function toContainer({ state, seccomp, oci, stopped }: KeptContainer, places: Places): Container {
  return { ...state, ...places, profile: seccomp, config: oci, stopped, oomKills: 0 };
}

/** Where a container is. */
export type Places = Pick<Container, "base" | "rootfs" | "cgroupPath" | "cgroup">;

export function placesOf(base: string, cgroupPath: string | undefined, cgroup: number | undefined): Places {
  return { base, rootfs: join(base, "rootfs"), cgroupPath, cgroup };
}

/** cgroup2's mount point. */
const CGROUPFS = "/sys/fs/cgroup";

/** What crun needs of a container of an OCI bundle. */
export function bundleOf({ id, base, rootfs, readOnly, cgroupPath, config }: Container): Bundle {
  if (!config) throw new Error(`container "${id}" is of no bundle`);
  return { id, base, config, place: { rootfs, readOnly, cgroupsPath: cgroupPath?.replace(CGROUPFS, "") } };
}
