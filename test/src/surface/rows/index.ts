import type { Row } from "../row.js";
import { cgroupRows } from "./cgroup.js";

/** Every case of the surface suite. */
export const rows: readonly Row[] = [...cgroupRows];
