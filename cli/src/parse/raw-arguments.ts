/**
 * The arguments of this process as bytes. Node decodes process.argv as UTF-8 and puts U+FFFD where it cannot, which would
 * change what a command is given; proc(5) cmdline has the bytes.
 */
export class RawArguments {
  private readonly raw: readonly Buffer[];

  /**
   * `cmdline` is NUL-terminated arguments; `argv` what Node made of them. Arguments that Node took for itself come first in
   * cmdline, so the two are matched from the end. When they do not agree (a changed process title), argv's text is all
   * there is.
   */
  constructor(cmdline: Buffer, argv: readonly string[]) {
    const parts: Buffer[] = [];
    for (let start = 0; start < cmdline.length; ) {
      const end = cmdline.indexOf(0, start);
      parts.push(cmdline.subarray(start, end < 0 ? cmdline.length : end));
      start = end < 0 ? cmdline.length : end + 1;
    }
    const tail = parts.slice(Math.max(0, parts.length - argv.length));
    const agree = tail.length === argv.length && tail.every((bytes, i) => bytes.toString() === argv[i]);
    this.raw = agree ? tail : argv.map((arg) => Buffer.from(arg));
  }

  /** The last arguments, whose decoded forms are `texts`. */
  tail(texts: readonly string[]): Buffer[] {
    const bytes = this.raw.slice(this.raw.length - texts.length);
    const agree = bytes.length === texts.length && bytes.every((arg, i) => arg.toString() === texts[i]);
    return agree ? bytes : texts.map((text) => Buffer.from(text));
  }

  /** An option's value, which is an argument or the end of one ("-eA=1", "--env=A=1"). */
  value(text: string): Buffer {
    if (!text.includes("\ufffd")) return Buffer.from(text);
    for (const arg of this.raw) {
      if (!arg.toString().endsWith(text)) continue;
      for (let start = 0; start <= arg.length; start++) {
        const rest = arg.subarray(start);
        if (rest.toString() === text) return rest;
      }
    }
    return Buffer.from(text);
  }
}
