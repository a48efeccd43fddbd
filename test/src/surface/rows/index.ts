import type { Row } from "../row.js";
import { cgroupRows } from "./cgroup.js";
import { containerRows } from "./container.js";
import { fileRows } from "./file.js";
import { mountRows } from "./mount.js";
import { networkRows } from "./network.js";
import { processRows } from "./process.js";
import { systemRows } from "./system.js";

/** Every case of the surface suite. */
export const rows: readonly Row[] = [
  ...cgroupRows,
  ...fileRows,
  ...mountRows,
  ...containerRows,
  ...networkRows,
  ...processRows,
  ...systemRows,
];
