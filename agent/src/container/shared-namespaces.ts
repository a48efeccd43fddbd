import { existsSync, mkdirSync, rmdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { MNT_DETACH, type Namespace, type NamespaceChoice, type NamespaceJoin, unmount } from "@zone/native";
import { agentError, errnoOf, invalid } from "../errors.js";
import type { ZoneProcess } from "../process/process.js";
import type { Container } from "./container.js";
import { unknownContainer } from "./container-errors.js";
import { ipcHolder, type NamespaceHolders, POD } from "./holders.js";
import { CONTAINER_LIMITS } from "./limits.js";
import { namespacesOf } from "./namespaces.js";
import type { ContainerSpec } from "./request.js";
import { mountShm, type SharedMemory } from "./root-mounts.js";
import type { ContainerState } from "./state.js";

export interface SharedNamespacesOptions {
  /** /run/zone/containers */
  directory: string;
  holders: NamespaceHolders;
  container(id: string): Container | undefined;
  /** The container's init, while it lives. */
  initOf(id: string): ZoneProcess | undefined;
}

/** What is asked of a container here; also while it is being made. */
type Sharing = Pick<ContainerState, "id" | "namespaces" | "ipcHeld">;

/** PID 1 takes no more (zone_init.h, ZI_MAX_NS_JOINS). */
const MAX_JOINS = 2;

/** Namespaces that containers do not have of their own, and the shared memory that goes with an ipc namespace. */
export class SharedNamespaces {
  readonly #options: SharedNamespacesOptions;
  readonly #podUsers = new Set<string>();
  readonly #podShm: string;

  constructor(options: SharedNamespacesOptions) {
    this.#options = options;
    this.#podShm = join(dirname(options.directory), "pod-shm");
  }

  /**
   * Makes what a new container shares be there. CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING, INVALID_NAMESPACE, INVALID_SYSCTL.
   * `release` undoes it, also when this has thrown.
   */
  async acquire(sharing: Sharing, { kind }: ContainerSpec): Promise<void> {
    if (kind.name === "oci") return;
    const { id, namespaces, ipcHeld } = sharing;
    const { holders } = this.#options;
    const { sysctls, shmBytes } = kind.settings;
    const pod = namespacesOf(namespaces, "pod").length > 0;
    const others = namespacesOf(namespaces, "container").length > 0;
    if ([pod, others, ipcHeld].filter(Boolean).length > MAX_JOINS)
      throw invalid(
        "INVALID_NAMESPACE",
        "sysctls of an ipc namespace, the pod's and another container's: one too many",
      );
    if (others) this.#runningInit(namespaces.containerId);
    if (pod) {
      this.#podUsers.add(id);
      await holders.hold(POD);
      if (namespaces.ipc === "pod") {
        if (!existsSync(this.#podShm)) {
          mkdirSync(this.#podShm);
          mountShm(this.#podShm, shmBytes);
        }
        await holders.setIpcSysctls(POD, sysctls);
      }
    }
    if (ipcHeld) await holders.setIpcSysctls(ipcHolder(id), sysctls);
  }

  /** The container is gone. */
  release({ id, ipcHeld }: Sharing): void {
    if (ipcHeld) this.#options.holders.drop(ipcHolder(id));
    if (!this.#podUsers.delete(id) || this.#podUsers.size > 0) return;
    this.#options.holders.drop(POD);
    if (!existsSync(this.#podShm)) return;
    try {
      unmount(this.#podShm, MNT_DETACH);
    } catch (error) {
      if (errnoOf(error) !== "EINVAL") throw error; // it had not been mounted
    }
    rmdirSync(this.#podShm);
  }

  /** A container that an earlier agent has made. */
  recover({ id, namespaces }: Sharing): void {
    if (namespacesOf(namespaces, "pod").length > 0) this.#podUsers.add(id);
  }

  /** /dev/shm of a new container. */
  sharedMemory({ namespaces }: Sharing, bytes: number): SharedMemory {
    if (namespaces.ipc === "pod") return { kind: "shared", root: this.#podShm, path: "." };
    const other = namespaces.ipc === "container" ? this.#options.container(namespaces.containerId) : undefined;
    // crun has mounted a bundle's in a mount namespace that nothing can be bound from.
    if (other && !other.oci) return { kind: "shared", root: other.rootfs, path: "dev/shm" };
    return { kind: "own", bytes: bytes || CONTAINER_LIMITS.shmBytes };
  }

  /** The namespaces of a container's init; undefined: all its own. CONTAINER_UNKNOWN, CONTAINER_NOT_RUNNING. */
  async choice({ id, namespaces, ipcHeld }: Sharing): Promise<NamespaceChoice | undefined> {
    const own: Namespace[] = namespacesOf(namespaces, "private");
    if (own.length === 3 && !ipcHeld) return undefined;
    const join: NamespaceJoin[] = [];
    const pod = namespacesOf(namespaces, "pod");
    if (pod.length > 0) join.push({ token: await this.#options.holders.hold(POD), which: pod });
    const others = namespacesOf(namespaces, "container");
    if (others.length > 0) join.push({ token: this.#runningInit(namespaces.containerId).token, which: others });
    if (ipcHeld) join.push({ token: await this.#options.holders.hold(ipcHolder(id)), which: ["ipc"] });
    return { create: ["mount", "cgroup", ...own.filter((name) => name !== "ipc" || !ipcHeld)], join };
  }

  #runningInit(id: string): ZoneProcess {
    if (!this.#options.container(id)) throw unknownContainer(id);
    const init = this.#options.initOf(id);
    if (init?.state.name === "running") return init;
    const message = `container "${id}", whose namespaces are to be shared, has no running init`;
    throw agentError("FAILED_PRECONDITION", "CONTAINER_NOT_RUNNING", message, {
      resource: { type: "container", name: id },
    });
  }
}
