/**
 * Owns one watch that a scripted API server serves, and what a spec may do to it.
 *
 *   HistoryChange -> event line -> client;   spec -> reset, freeze, truncate, error, bookmark, repeat
 */
import type { ServerResponse } from 'node:http';
import type { HistoryChange, KubeJson, TypeName } from './history.js';
import { TYPES } from './history.js';
import { selects } from './selectors.js';

export class WatchStream {
  readonly type: TypeName;
  readonly query: URLSearchParams;
  readonly #response: ServerResponse;
  #isFrozen = false;
  #lastLine = '';
  #sent = 0;

  constructor(type: TypeName, query: URLSearchParams, response: ServerResponse) {
    this.type = type;
    this.query = query;
    this.#response = response;
  }

  /** Events sent so far, bookmarks among them. */
  get sent(): number {
    return this.#sent;
  }

  get isOpen(): boolean {
    return !this.#response.destroyed && !this.#response.writableEnded;
  }

  /** As a client with these selectors sees a change: what leaves its selection is deleted for it. */
  change({ object, before, isDeletion }: HistoryChange): void {
    const was = before !== undefined && selects(this.query, before);
    const is = !isDeletion && selects(this.query, object);
    if (is) this.send({ type: was ? 'MODIFIED' : 'ADDED', object });
    else if (was) this.send({ type: 'DELETED', object });
  }

  added(object: KubeJson): void {
    this.send({ type: 'ADDED', object });
  }

  bookmark(version: number, isEndOfInitialEvents = false): void {
    const { apiVersion, kind } = TYPES[this.type];
    const annotations = isEndOfInitialEvents ? { annotations: { 'k8s.io/initial-events-end': 'true' } } : {};
    this.send({
      type: 'BOOKMARK',
      object: { apiVersion, kind, metadata: { resourceVersion: `${version}`, ...annotations } },
    });
  }

  /** An ERROR in the stream; the server ends it then. */
  error(status: Readonly<Record<string, unknown>>): void {
    this.send({ type: 'ERROR', object: { kind: 'Status', apiVersion: 'v1', status: 'Failure', ...status } });
    this.end();
  }

  gone(): void {
    this.error({ code: 410, reason: 'Expired', message: 'too old resource version: 1 (2)' });
  }

  send(event: { readonly type: string; readonly object: unknown }): void {
    this.#lastLine = `${JSON.stringify(event)}\n`;
    this.raw(this.#lastLine);
  }

  /** The last event once more. */
  repeat(): void {
    if (this.#lastLine !== '') this.raw(this.#lastLine);
  }

  raw(text: string): void {
    if (this.#isFrozen || !this.isOpen) return;
    this.#sent++;
    this.#response.write(text);
  }

  /** The connection stays and nothing comes any more. */
  freeze(): void {
    this.#isFrozen = true;
  }

  /** Breaks off in the middle of an event. */
  truncate(): void {
    this.raw('{"type":"ADDED","object":{"metadata":{"name":"cut');
    this.end();
  }

  end(): void {
    if (this.isOpen) this.#response.end();
  }

  reset(): void {
    this.#response.socket?.destroy();
  }
}
