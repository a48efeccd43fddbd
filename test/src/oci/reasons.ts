/** Why a program does not pass in a zone; undefined: nobody has said. */
export function reasonOf(program: string): string | undefined {
  return REASONS[program];
}

const REASONS: Partial<Record<string, string>> = {};
