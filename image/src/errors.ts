/** Why an image could not be built. It stays inside the builder, so it is not one of the errors that cross our RPCs. */
export class BuildError extends Error {
  override readonly name = "BuildError";

  /** `message` is one line: what failed, on what, why, and what to do about it. */
  constructor(message: string, cause?: unknown) {
    super(message, { cause });
  }
}
