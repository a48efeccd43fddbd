import { constants } from "node:os";

/** What ends a program or tells it something: docker's --sig-proxy, without those that are about this process alone. */
const PROXIED = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;

/** As docker: this many SIGINT or SIGTERM end zonectl itself, whatever it waits for. */
const FORCED_AFTER = 3;

/** What receives the signals of this process. */
export type SignalHandler = (number: number) => void;

/**
 * The signals that this process gets, for as long as a command wants them. One handler at a time: a command replaces it as
 * it goes from phase to phase, so that no signal falls between two.
 */
export class Signals {
  private interrupts = 0;

  constructor(
    private handler: SignalHandler,
    private readonly forced: (number: number) => void,
  ) {
    for (const name of PROXIED) process.on(name, this.listener);
  }

  /** From now on `handler` gets them. */
  route(handler: SignalHandler): void {
    this.handler = handler;
  }

  /** Back to what signals do by default. */
  close(): void {
    for (const name of PROXIED) process.off(name, this.listener);
  }

  private readonly listener = (_name: string, number: number): void => {
    const ends = number === constants.signals.SIGINT || number === constants.signals.SIGTERM;
    if (ends && ++this.interrupts >= FORCED_AFTER) this.forced(number);
    else this.handler(number);
  };
}
