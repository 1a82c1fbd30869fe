/**
 * Owns following one resource of the API server, whatever the server and the network do (rule Y4). Modelled on client-go's
 * Reflector.
 *
 *   stream (or list) -> StoreMirror.replace -> watch -> StoreMirror.apply -> ended, failed -> Recovery -> watch | list anew
 *
 * Nothing is forgotten while the server is away (rule Y5): what is in the store goes by an event of the server, or because a
 * whole list lacks it.
 */
import type { Log } from '../../config/log.js';
import type { ApiClient } from './api-client.js';
import { ApiError, asApiError } from './api-error.js';
import { Lines } from './lines.js';
import { latestVersion, listAll } from './list.js';
import { MAX_OBJECT_BYTES } from './list-items.js';
import { Recovery } from './recovery.js';
import { identityOf, type ReadObject, type Resource, readObject } from './resource.js';
import type { Change, StoreMirror } from './store-mirror.js';
import { pause, type Timers } from './timers.js';
import { parseEvent, runsBackwards, type WatchEvent } from './watch-events.js';

export interface ReflectorOptions {
  readonly client: ApiClient;
  readonly resource: Resource;
  readonly mirror: StoreMirror;
  readonly timers: Timers;
  readonly log: Log;
  /** As Math.random. */
  readonly random?: (() => number) | undefined;
  /** Everything there is has been taken up; called after every full list. */
  readonly onListed?: () => void;
  /** The server does not know the resource. Called at every attempt. */
  readonly onNotServed?: () => void;
}

const PAGE_SIZE = 500;
/** Servers end a watch after this long; twice as long at most (client-go's spread). */
const LEAST_WATCH_SECONDS = 300;
/** Bookmarks come about every minute: a server that keeps quiet for longer has lost us, or has nothing to say. */
const WATCH_SILENCE_MS = 150_000;
/** The events at the start of a stream come without pause. */
const STREAM_SILENCE_MS = 30_000;
const SHORT_WATCH_MS = 1_000;

export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #recovery: Recovery;
  #attempt = new AbortController();
  #running: Promise<void> | undefined;
  #isStopped = false;
  /** Up to where we know everything; '' before the first list. */
  #resourceVersion = '';
  /** Lists from storage came in pages: the server has no cache to spare. */
  #isPaged = false;
  /** What a stream has said so far; undefined once it has said everything, and in a plain watch. */
  #initial: Map<string, ReadObject> | undefined;
  #eventCount = 0;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#recovery = new Recovery(options);
  }

  start(): void {
    this.#running ??= this.#run();
  }

  /** Ends the request under way; resolves when nothing of ours runs any more. What is in the store stays. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#attempt.abort();
    await this.#running;
  }

  /** Lists everything anew, now. */
  relist(): void {
    this.#recovery.listAnew();
    this.#attempt.abort();
  }

  async #run(): Promise<void> {
    while (!this.#isStopped) {
      this.#attempt = new AbortController();
      const { signal } = this.#attempt;
      const startedMs = this.#options.timers.nowMs();
      this.#eventCount = 0;
      try {
        await this.#follow(signal);
        this.#recovery.ended(this.#options.timers.nowMs() - startedMs, this.#eventCount);
      } catch (error) {
        if (signal.aborted) continue;
        const livedMs = this.#options.timers.nowMs() - startedMs;
        const delayMs = this.#recovery.failed(asApiError(error), livedMs, this.#eventCount);
        await pause(this.#options.timers, delayMs, signal);
      }
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    switch (this.#recovery.begin()) {
      case 'stream':
        return this.#stream(signal);
      case 'list':
        return this.#list(signal);
      case 'check':
        return this.#checkHistory(signal);
      case 'watch':
        this.#initial = undefined;
        return this.#watch({ resourceVersion: this.#resourceVersion }, signal);
    }
  }

  /** A watch that begins with everything there is: no page expires, and neither side holds a whole list in memory. */
  #stream(signal: AbortSignal): Promise<void> {
    const resourceVersion = this.#recovery.isVersionUsable ? this.#resourceVersion : '';
    const query = { sendInitialEvents: 'true', resourceVersionMatch: 'NotOlderThan', resourceVersion };
    this.#initial = new Map();
    return this.#watch(query, signal);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { client, resource } = this.#options;
    const resourceVersion = this.#recovery.isVersionUsable ? this.#resourceVersion || '0' : '';
    // Some version or later: caches have that whole, and answer in pages only from storage.
    const limit = resourceVersion === '0' || resourceVersion === '' || this.#isPaged ? PAGE_SIZE : 0;
    const request = { client, resource, signal, read: (json: unknown) => this.#read(json) };
    const list = await listAll({ ...request, resourceVersion, limit }).catch((error: unknown) => {
      const { isExpired, isVersionTooLarge } = asApiError(error);
      if (!isExpired && !isVersionTooLarge) throw error;
      // The pages we came by are gone, or the version is: the latest in one piece always is there.
      return listAll({ ...request, resourceVersion: '', limit: 0 });
    });
    if (resourceVersion === '0') this.#isPaged = list.isPaged;
    this.#replace(list.objects, list.resourceVersion);
  }

  async #checkHistory(signal: AbortSignal): Promise<void> {
    const { client, resource } = this.#options;
    const latest = await latestVersion({ client, resource, signal, read: () => undefined });
    if (runsBackwards(this.#resourceVersion, latest)) {
      throw new ApiError('HISTORY', `the latest resource version is ${latest}, after ${this.#resourceVersion}`);
    }
    this.#recovery.checked();
  }

  #replace(objects: ReadonlyMap<string, ReadObject>, resourceVersion: string): void {
    const { mirror, log, resource, onListed } = this.#options;
    mirror.replace(objects);
    this.#resourceVersion = resourceVersion;
    this.#recovery.listed();
    log.debug('listed', { resource: resource.name, objects: objects.size, resourceVersion });
    onListed?.();
  }

  /** `#initial` says whether it begins with everything. It is no argument: a watch keeps its arguments alive to its end. */
  async #watch(query: Readonly<Record<string, string>>, signal: AbortSignal): Promise<void> {
    const { client, resource, timers, random = Math.random } = this.#options;
    const timeoutSeconds = `${Math.round(LEAST_WATCH_SECONDS * (1 + random()))}`;
    const startedMs = timers.nowMs();
    const body = await client.open({
      path: resource.path,
      query: { ...resource.selectors, ...query, watch: 'true', allowWatchBookmarks: 'true', timeoutSeconds },
      signal,
      silenceMs: () => (this.#initial === undefined ? WATCH_SILENCE_MS : STREAM_SILENCE_MS),
    });
    this.#recovery.opened();
    const lines = new Lines(MAX_OBJECT_BYTES);
    for await (const chunk of body) this.#take(lines.feed(chunk));
    if (this.#initial !== undefined) throw new ApiError('BAD_ANSWER', 'the stream ended before it had said everything');
    if (this.#eventCount === 0 && timers.nowMs() - startedMs < SHORT_WATCH_MS) {
      throw new ApiError('UNREACHABLE', 'the watch ended at once');
    }
  }

  /** Events that arrive together are taken up together (rule S5), and those before a bad one all the same. */
  #take(lines: Iterable<string>): void {
    const changes: Change[] = [];
    let resourceVersion = this.#resourceVersion;
    const apply = () => {
      this.#options.mirror.apply(changes.splice(0));
      this.#resourceVersion = resourceVersion;
    };
    try {
      for (const line of lines) {
        const event = parseEvent(line);
        this.#eventCount++;
        if (this.#initial !== undefined) {
          this.#takeInitial(event, this.#initial);
          resourceVersion = this.#resourceVersion;
          continue;
        }
        if (runsBackwards(resourceVersion, event.resourceVersion)) {
          throw new ApiError('HISTORY', `an event at ${event.resourceVersion}, after ${resourceVersion}`);
        }
        changes.push(...this.#changeOf(event));
        resourceVersion = event.resourceVersion;
      }
    } finally {
      apply();
    }
  }

  #takeInitial(event: WatchEvent, initial: Map<string, ReadObject>): void {
    for (const change of this.#changeOf(event)) {
      if (change.type === 'set') initial.set(change.object.id, change.object);
      else initial.delete(change.id);
    }
    if (!event.endsInitialEvents) return;
    this.#initial = undefined;
    this.#replace(initial, event.resourceVersion);
  }

  #changeOf({ type, object }: WatchEvent): readonly Change[] {
    if (type === 'bookmark') return [];
    if (type === 'delete') {
      const id = identityOf(object);
      return id === undefined ? [] : [{ type, id }];
    }
    const read = this.#read(object);
    return read === undefined ? [] : [{ type, object: read }];
  }

  #read(json: unknown): ReadObject | undefined {
    const { resource, mirror, log } = this.#options;
    const object = readObject(resource, json);
    if (object !== undefined) return mirror.known(object);
    log.warn('an object of the API server has no name', { kind: resource.kind });
    return undefined;
  }
}
