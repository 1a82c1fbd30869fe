/**
 * Owns cutting a watch into lines, one event each.
 *
 *   chunks -> feed -> lines, whole ones only
 *
 * A line that is not ended when the stream ends is one that broke off: nobody ever sees it.
 */
import { ApiError } from './api-error.js';

const NEWLINE = 0x0a;

export class Lines {
  readonly #maxBytes: number;
  #begun: Buffer[] = [];
  #begunBytes = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Throws ApiError BAD_ANSWER at a line longer than the bound, after the lines before it. */
  *feed(chunk: Buffer): Generator<string> {
    let from = 0;
    for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, from)) {
      this.#keep(chunk.subarray(from, end));
      from = end + 1;
      const line = this.#begun.length === 1 ? this.#begun[0] : Buffer.concat(this.#begun);
      [this.#begun, this.#begunBytes] = [[], 0];
      const text = line?.toString('utf8').trim() ?? '';
      if (text !== '') yield text;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
  }

  #keep(bytes: Buffer): void {
    this.#begunBytes += bytes.length;
    if (this.#begunBytes > this.#maxBytes) throw new ApiError('BAD_ANSWER', 'an event of the watch is too long');
    this.#begun.push(bytes);
  }
}
