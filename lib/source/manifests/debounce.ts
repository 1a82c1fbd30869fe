/**
 * Owns waiting for a burst to end: saving a file is several events, and the middle of it is not worth reading.
 *
 *   trigger, trigger, trigger -> quiet for quietMs, or atMostMs after the first -> run
 */
export class Debounce {
  readonly #options: { readonly quietMs: number; readonly atMostMs: number; readonly run: () => void };
  #timer: NodeJS.Timeout | undefined;
  #firstAtMs = 0;

  constructor(options: { readonly quietMs: number; readonly atMostMs: number; readonly run: () => void }) {
    this.#options = options;
  }

  trigger(): void {
    const { quietMs, atMostMs } = this.#options;
    const nowMs = performance.now();
    if (this.#timer === undefined) this.#firstAtMs = nowMs;
    clearTimeout(this.#timer);
    const delayMs = Math.max(0, Math.min(quietMs, this.#firstAtMs + atMostMs - nowMs));
    this.#timer = setTimeout(() => this.#fire(), delayMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #fire(): void {
    this.#timer = undefined;
    this.#options.run();
  }
}
