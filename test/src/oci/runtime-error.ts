/** What a runtime says on stderr before it ends with 1. */
export class RuntimeError extends Error {
  override readonly name = "RuntimeError";
}
