/** The user asked for something that makes no sense: one line for stderr, exit code 125. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}
