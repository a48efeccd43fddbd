/** The value below which `share` (0 to 1) of the samples lie; nearest rank. NaN without samples. */
export function percentile(samples: number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** p50 and p99 of milliseconds, and how many there were. */
export function summary(samples: number[]): { p50: number; p99: number; count: number } {
  return { p50: round(percentile(samples, 0.5)), p99: round(percentile(samples, 0.99)), count: samples.length };
}

/** To three significant digits. */
export function round(value: number): number {
  return Number(value.toPrecision(3));
}

/** Milliseconds that `work` takes. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

/** Runs `count` pieces of work, `width` at a time; the milliseconds of each. */
export async function concurrently(count: number, width: number, work: () => Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  let started = 0;
  const worker = async () => {
    while (started++ < count) samples.push(await timed(work));
  };
  await Promise.all(Array.from({ length: width }, worker));
  return samples;
}
