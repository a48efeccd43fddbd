import { join } from "node:path";
import { invalid } from "../errors.js";
import { CGROUP_LIMITS } from "./limits.js";

const COMPONENT = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
/** Files that the kernel itself puts into a cgroup begin so: Documentation/admin-guide/cgroup-v2.rst, "Conventions". */
const RESERVED = /^(cgroup|cpu|cpuset|memory|io|pids|hugetlb|rdma|misc|perf_event|irq|debug)\./;

/** Throws INVALID_CGROUP unless `path` names a cgroup of the zone: "web", "web/workers". */
export function checkCgroupPath(path: string): string {
  const components = path.split("/");
  const good = (name: string) =>
    COMPONENT.test(name) && name.length <= CGROUP_LIMITS.nameLength && !RESERVED.test(name);
  if (components.length <= CGROUP_LIMITS.depth && components.every(good)) return path;
  throw invalid(
    "INVALID_CGROUP",
    `"${path.slice(0, 80)}" does not name a cgroup: at most ${CGROUP_LIMITS.depth} names like [A-Za-z0-9][A-Za-z0-9_.-]{0,63}, with "/" between them`,
  );
}

/** The folder of the cgroup `path` ("" is the zone's own) below `root`. */
export function cgroupFolder(root: string, path: string): string {
  return path === "" ? root : join(root, checkCgroupPath(path));
}

/** The cgroup that the kernel calls "/zone/web/workers" when the zone's own is "/zone": "web/workers"; undefined outside of it. */
export function pathOfKernelName(name: string, zoneName = "/zone"): string | undefined {
  if (name === zoneName) return "";
  return name.startsWith(`${zoneName}/`) ? name.slice(zoneName.length + 1) : undefined;
}
