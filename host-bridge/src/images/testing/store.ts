import { readdirSync } from "node:fs";
import { join } from "node:path";
import { encodeTar, file } from "@zone/tar";
import type { Images } from "../image-store.js";
import { DEFAULT_LIMITS, type ImageLimits } from "../limits.js";
import { type ImageStoreOptions, openImageStore } from "../store.js";

export const silent = (): void => undefined;
export const never = new AbortController().signal;

/** Two small layers. */
export const hello = encodeTar([file("hello", "hello")]);
export const other = encodeTar([file("other", "other")]);

/** A store in `directory`/images, with little of the test's environment. */
export function openStore(directory: string, more: Partial<ImageStoreOptions> = {}): Promise<Images> {
  return openImageStore({ directory: join(directory, "images"), env: { PATH: process.env.PATH }, ...more });
}

/** What is in the store's folder but images. */
export function leftovers(directory: string): string[] {
  return readdirSync(join(directory, "images")).filter((name) => !/^(?:[0-9a-f]{64}|references\.json)$/.test(name));
}

export function withLimits(changes: Partial<ImageLimits>): Partial<ImageStoreOptions> {
  return { limits: { ...DEFAULT_LIMITS, ...changes } };
}
