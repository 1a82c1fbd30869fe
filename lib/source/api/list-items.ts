/**
 * Owns taking a list apart while it arrives: the items one by one, and what stands around them.
 *
 *   chunks of `{"metadata":{...},"items":[{...},{...}]}` -> feed -> onItem(JSON), onItem(JSON) ... end -> the list without items
 *
 * A list of 5,000 slices is 25 MB of text, and several times that when it is parsed at once. So only one item is ever in
 * memory as JSON.
 */
import { ApiError } from './api-error.js';

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];
/** Depth of the items: in the list object, in its array. */
const ITEM_DEPTH = 2;
/** What may stand around the items: metadata, and nothing else of size. */
const MAX_ENVELOPE_BYTES = 1 << 20;
/** etcd stores no object of more than 1.5 MB by default. */
export const MAX_OBJECT_BYTES = 16 << 20;

export class ListItems {
  readonly #onItem: (json: unknown) => void;
  /** Bytes outside of items, and those of the item under way. */
  #envelope: Buffer[] = [];
  #envelopeBytes = 0;
  #item: Buffer[] = [];
  #itemBytes = 0;
  #depth = 0;
  #inItems = false;
  #inString = false;
  #escaped = false;
  /** The string last begun directly in the list object, and whether it is a key by now. */
  #word: number[] = [];
  #isKey = false;

  constructor(onItem: (json: unknown) => void) {
    this.#onItem = onItem;
  }

  feed(chunk: Buffer): void {
    /** Of what is not handed on yet: of the envelope, or of an item. */
    let from = 0;
    for (let at = 0; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.#inString) {
        at = this.#skipString(chunk, at);
      } else if (byte === QUOTE) {
        this.#inString = true;
        if (this.#depth === 1) [this.#word, this.#isKey] = [[], false];
        this.#plain(byte);
      } else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
        this.#plain(byte);
        if (this.#inItems && this.#depth === ITEM_DEPTH) from = at;
        if (this.#depth === 1 && byte === OPEN_BRACKET && this.#isItemsKey()) {
          this.#keepEnvelope(chunk.subarray(from, at + 1));
          this.#inItems = true;
        }
        this.#depth++;
      } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) {
        this.#depth--;
        if (this.#inItems && this.#depth === ITEM_DEPTH) this.#emit(chunk.subarray(from, at + 1));
        if (this.#inItems && this.#depth === 1) [this.#inItems, from] = [false, at];
      } else {
        this.#plain(byte);
      }
    }
    if (!this.#inItems) this.#keepEnvelope(chunk.subarray(from));
    else if (this.#depth > ITEM_DEPTH) this.#keepItem(chunk.subarray(from));
  }

  /** The list without its items. Throws ApiError BAD_ANSWER where it ended too early or is no JSON. */
  end(): unknown {
    if (this.#depth !== 0) throw new ApiError('BAD_ANSWER', 'the list ends in the middle');
    return parse(Buffer.concat(this.#envelope));
  }

  /** From a byte inside of a string to its closing quote, or to the end of the chunk. */
  #skipString(chunk: Buffer, start: number): number {
    let at = start;
    for (; at < chunk.length; at++) {
      const byte = chunk[at];
      if (this.#escaped) this.#escaped = false;
      else if (byte === BACKSLASH) this.#escaped = true;
      else if (byte === QUOTE) {
        this.#inString = false;
        break;
      }
      if (this.#depth === 1 && this.#word.length < 8) this.#word.push(byte ?? 0);
    }
    return at;
  }

  /** Outside of strings. Between items there may be commas and spaces alone. */
  #plain(byte: number | undefined): void {
    if (this.#depth === 1 && byte === COLON) this.#isKey = true;
    if (this.#depth === 1 && byte === COMMA) this.#isKey = false;
    if (!this.#inItems || this.#depth !== ITEM_DEPTH || byte === OPEN_BRACE) return;
    if (byte === COMMA || byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09) return;
    throw new ApiError('BAD_ANSWER', 'an item of the list is no object');
  }

  #isItemsKey(): boolean {
    return this.#isKey && String.fromCharCode(...this.#word) === 'items';
  }

  #keepEnvelope(bytes: Buffer): void {
    this.#envelopeBytes += bytes.length;
    if (this.#envelopeBytes > MAX_ENVELOPE_BYTES) throw new ApiError('BAD_ANSWER', 'the answer is no list');
    // A copy: the chunk is a part of a pool that would stay alive.
    this.#envelope.push(Buffer.from(bytes));
  }

  #keepItem(bytes: Buffer): void {
    this.#itemBytes += bytes.length;
    if (this.#itemBytes > MAX_OBJECT_BYTES) throw new ApiError('BAD_ANSWER', 'an item of the list is too long');
    this.#item.push(bytes);
  }

  #emit(last: Buffer): void {
    const bytes = this.#item.length === 0 ? last : Buffer.concat([...this.#item, last]);
    [this.#item, this.#itemBytes] = [[], 0];
    this.#onItem(parse(bytes));
  }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw new ApiError('BAD_ANSWER', 'the answer is no JSON', { cause });
  }
}
