import { bridgeError } from "../errors.js";
import type { ImageConfig, Images, StoredImage } from "../images/image-store.js";

/** The images that tests use: each named image is "there", and has no disk. */
export function testImages(configs: Record<string, Partial<ImageConfig>>): Images {
  const empty: ImageConfig = {
    entrypoint: [],
    cmd: [],
    env: ["PATH=/usr/bin:/bin"],
    user: "",
    workingDir: "",
    stopSignal: "",
    architecture: "amd64",
  };
  const images = new Map<string, StoredImage>();
  for (const [name, config] of Object.entries(configs)) {
    const digest = `sha256:${Buffer.from(name).toString("hex").padEnd(64, "0")}`;
    const image = { digest, references: [name], config: { ...empty, ...config }, diskPath: "/dev/null", sizeBytes: 0 };
    images.set(name, { ...image, pulledAt: 0 });
  }
  const find = (wanted: string) => images.get(wanted) ?? [...images.values()].find((image) => image.digest === wanted);
  return {
    async pull(reference, progress) {
      progress("pull", `looking for ${reference}`);
      const found = find(reference);
      if (!found) throw bridgeError("NOT_FOUND", "IMAGE_UNKNOWN", `there is no image ${reference}`);
      return found;
    },
    list: async () => [...images.values()],
    find: async (wanted) => find(wanted),
    async remove(wanted) {
      if (!images.delete(wanted)) throw bridgeError("NOT_FOUND", "IMAGE_UNKNOWN", `there is no image ${wanted}`);
    },
  };
}
