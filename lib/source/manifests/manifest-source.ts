/**
 * Owns keeping the store as the manifest files say, while they are edited (rule C2).
 *
 *   event, poll, SIGHUP -> look: list, read what changed, merge -> one batch into ObjectStore
 *                                                               -> faults, each logged once
 *
 * An object that vanishes from its files is believed gone at a second look: saving by remove-and-write, or by truncating
 * first, passes through moments without it, and those must not cut traffic.
 */
import { basename, sep } from 'node:path';
import type { Log } from '../../config/log.js';
import { SourceError } from '../source-error.js';
import type { ObjectStore } from '../store.js';
import { Debounce } from './debounce.js';
import { DirectoryWatch } from './directory-watch.js';
import { directoriesToWatch, isManifestName, type Listing, listFiles } from './listing.js';
import { countIgnored, listingFaults, objectsOf, readFiles } from './load-manifests.js';
import { faultText, type ManifestFault, placeText } from './manifest-fault.js';
import type { ManifestFile } from './manifest-file.js';
import { type Held, mergeFiles } from './merge.js';

export interface ManifestSourceOptions {
  readonly paths: readonly string[];
  readonly store: ObjectStore;
  readonly log: Log;
  /** Everything is looked at this often even without an event; 0: never. */
  readonly pollMs: number;
  /** All faults as they are now, whenever they change. */
  readonly onFaults?: (faults: readonly ManifestFault[]) => void;
}

const QUIET_MS = 100;
/** A directory where something is always written is looked at all the same. */
const AT_MOST_MS = 500;
/** Between the two looks that make an object gone. */
const GONE_AFTER_MS = 250;
/** Longer timers of Node fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

export class ManifestSource {
  readonly #options: ManifestSourceOptions;
  readonly #watch: DirectoryWatch;
  readonly #debounce: Debounce;
  /** Names of the operator's paths in the directories they stand in. */
  readonly #rootNames: ReadonlySet<string>;
  #files: ReadonlyMap<string, ManifestFile> = new Map();
  #held: ReadonlyMap<string, Held> = new Map();
  /** Objects found missing at the last look, and since when. */
  #missingSinceMs: ReadonlyMap<string, number> = new Map();
  #faults: readonly ManifestFault[] = [];
  #poll: NodeJS.Timeout | undefined;
  #secondLook: NodeJS.Timeout | undefined;
  /** The look under way, or the last one: they never overlap. */
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;

  constructor(options: ManifestSourceOptions) {
    this.#options = options;
    this.#rootNames = new Set(options.paths.map((path) => basename(path)));
    this.#debounce = new Debounce({ quietMs: QUIET_MS, atMostMs: AT_MOST_MS, run: () => this.#lookLater() });
    this.#watch = new DirectoryWatch({ onEvent: (name) => this.#event(name), log: options.log });
  }

  get faults(): readonly ManifestFault[] {
    return this.#faults;
  }

  /**
   * Resolves when everything has been read once and the store is synced, whatever faults there are. Rejects with
   * SourceError NOT_FOUND naming every path that does not exist.
   */
  async start(): Promise<void> {
    const { missing } = await listFiles(this.#options.paths);
    if (missing.length > 0) throw new SourceError('NOT_FOUND', `no such file or directory: ${missing.join(', ')}`);
    await this.#look(true);
    this.#options.store.markSynced();
    const { pollMs } = this.#options;
    if (pollMs > 0) this.#poll = setInterval(() => this.#lookLater(), Math.min(pollMs, MAX_TIMER_MS));
  }

  /** Reads everything now and believes it at once: what is missing is gone. */
  async reload(): Promise<void> {
    await this.#look(true);
  }

  /** Ends watching; the store stays as it is. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#poll);
    clearTimeout(this.#secondLook);
    this.#debounce.stop();
    this.#watch.stop();
    await this.#looking.catch(() => undefined);
  }

  #event(name: string | undefined): void {
    const matters = name === undefined || isManifestName(name) || name.startsWith('..') || this.#rootNames.has(name);
    if (matters && !this.#stopped) this.#debounce.trigger();
  }

  #lookLater(): void {
    this.#look(false).catch((error: unknown) => {
      this.#options.log.error('cannot look at the manifests, the last state stays in force', { err: error });
    });
  }

  #look(believe: boolean): Promise<void> {
    this.#looking = this.#looking.catch(() => undefined).then(() => this.#lookNow(believe));
    return this.#looking;
  }

  async #lookNow(believe: boolean): Promise<void> {
    if (this.#stopped) return;
    const listing = await listFiles(this.#options.paths);
    const files = await readFiles(listing, this.#files);
    if (this.#stopped) return;
    const merged = mergeFiles(this.#held, files, (file) => isHidden(file, listing));
    this.#keepForNow(merged.held, merged.gone, believe);
    this.#apply(merged.held, files);
    this.#files = new Map(files.map((file) => [file.file, file]));
    this.#report([...listingFaults(listing), ...merged.faults]);
    const isNewWatch = await this.#watch.follow(await directoriesToWatch(listing));
    if (isNewWatch && !this.#stopped) this.#debounce.trigger();
  }

  /** What has just gone missing stays in `held` until a second look. */
  #keepForNow(held: Map<string, Held>, gone: readonly string[], believe: boolean): void {
    const nowMs = performance.now();
    const since = new Map<string, number>();
    for (const id of gone) {
      const last = this.#held.get(id);
      const sinceMs = this.#missingSinceMs.get(id) ?? nowMs;
      if (believe || last === undefined || nowMs - sinceMs >= GONE_AFTER_MS) continue;
      since.set(id, sinceMs);
      held.set(id, last);
    }
    this.#missingSinceMs = since;
    clearTimeout(this.#secondLook);
    if (since.size > 0) this.#secondLook = setTimeout(() => this.#lookLater(), GONE_AFTER_MS);
  }

  /** One batch, everything new before anything goes (rule S5). The store passes over what is equal. */
  #apply(held: ReadonlyMap<string, Held>, files: readonly ManifestFile[]): void {
    const { store, log } = this.#options;
    const before = objectsOf([...this.#held.values()].map(({ object }) => object));
    const after = objectsOf([...held.values()].map(({ object }) => object));
    this.#held = held;
    const changes = store.batch(() => {
      for (const slice of after.slices) store.setSlice(slice);
      for (const service of after.services) store.setService(service);
      for (const node of after.nodes) store.setNode(node);
      for (const key of vanished(before.services, after.services, ({ key }) => key)) store.deleteService(key);
      for (const key of vanished(before.slices, after.slices, ({ key }) => key)) store.deleteSlice(key);
      for (const name of vanished(before.nodes, after.nodes, ({ name }) => name)) store.deleteNode(name);
    });
    if (changes === 0 && store.isSynced) return;
    const counts = { services: after.services.length, slices: after.slices.length, nodes: after.nodes.length };
    log.info('manifests read', { files: files.length, ...counts, changes });
    const ignored = Object.fromEntries(countIgnored(files));
    if (Object.keys(ignored).length > 0) log.debug('kinds without use for a proxy left out', { ignored });
  }

  /** A fault is logged when it is new, not at every look. */
  #report(faults: readonly ManifestFault[]): void {
    const known = new Set(this.#faults.map(faultText));
    const fresh = faults.filter((fault) => !known.has(faultText(fault)));
    const isSame = fresh.length === 0 && faults.length === known.size;
    this.#faults = faults;
    for (const fault of fresh) {
      const { file, line, column, object, path, message } = fault;
      const place = placeText(file, line, column);
      // '' is what a fault of the file as a whole has there.
      const where = { place, object: object || undefined, path: path || undefined };
      this.#options.log.warn('fault in a manifest', { key: faultText(fault), ...where, fault: message });
    }
    if (!isSame) this.#options.onFaults?.(faults);
  }
}

/** Whether a file that was not read may be there all the same. */
function isHidden(file: string, { unreadable }: Listing): boolean {
  return unreadable.some(({ path }) => file === path || file.startsWith(path + sep));
}

function vanished<T>(before: readonly T[], after: readonly T[], keyOf: (one: T) => string): readonly string[] {
  const stays = new Set(after.map(keyOf));
  return before.map(keyOf).filter((key) => !stays.has(key));
}
