import type { ProgressFn } from "../domains/driver.js";
import type { ImageLimits } from "./limits.js";

/** What every step of a pull goes by. */
export interface PullContext {
  limits: ImageLimits;
  /** What the host's disk can take now, in bytes. */
  freeBytes: number;
  progress: ProgressFn;
  signal: AbortSignal;
}
