import { printable } from "./printable.js";

/**
 * A table as text: a line of headers, then a line per row, columns aligned and two spaces apart. Cells are made printable;
 * nothing is padded at a line's end. `paint` colours a padded cell (its escape sequences take no width).
 */
export function formatTable(
  headers: readonly string[],
  rows: readonly (readonly string[])[],
  paint: (cell: string, column: number) => string = (cell) => cell,
): string {
  const safe = rows.map((row) => row.map(printable));
  const widths = headers.map((header, i) => Math.max(header.length, ...safe.map((row) => (row[i] ?? "").length)));
  const line = (cells: readonly string[], painted: boolean) =>
    cells
      .map((cell, i) => {
        const padding = i === cells.length - 1 ? "" : " ".repeat((widths[i] ?? 0) - cell.length);
        return (painted ? paint(cell, i) : cell) + padding;
      })
      .join("  ")
      .trimEnd();
  return `${[line(headers, false), ...safe.map((row) => line(row, true))].join("\n")}\n`;
}

/** "3 seconds ago", as docker says it. `atMs` undefined gives "". */
export function ago(atMs: number | undefined, nowMs: number): string {
  return atMs === undefined ? "" : `${span(nowMs - atMs)} ago`;
}

/** A length of time for people, in its largest sensible unit. */
export function span(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const units: [number, string][] = [
    [86_400 * 365, "year"],
    [86_400 * 30, "month"],
    [86_400 * 7, "week"],
    [86_400, "day"],
    [3_600, "hour"],
    [60, "minute"],
  ];
  for (const [size, unit] of units) {
    const count = Math.floor(seconds / size);
    if (count >= 1) return plural(count, unit);
  }
  return seconds === 0 ? "less than a second" : plural(seconds, "second");
}

function plural(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

/** Bytes for people, in powers of 1024: "4.2 MiB". */
export function byteSize(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let value = bytes;
  let unit = 0;
  // 1023.95 would be shown as 1024.0.
  while (value >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return unit === 0 ? `${value} B` : `${value.toFixed(1)} ${units[unit]}`;
}
