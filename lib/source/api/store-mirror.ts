/**
 * Owns the part of the store that one resource fills: what is in it because of us, and what has to go (rule C2).
 *
 *   list -> replace, events -> apply -> one batch into ObjectStore
 *                                    -> faults of objects, each logged once
 */
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../../config/log.js';
import { pathText } from '../objects/fault.js';
import type { KubeKind, KubeObject } from '../objects/kube-object.js';
import type { ObjectStore } from '../store.js';
import type { ReadObject } from './resource.js';

export type Change =
  | { readonly type: 'set'; readonly object: ReadObject }
  | { readonly type: 'delete'; readonly id: string };

export interface StoreMirrorOptions {
  readonly kind: KubeKind;
  readonly store: ObjectStore;
  readonly log: Log;
}

export class StoreMirror {
  readonly #options: StoreMirrorOptions;
  /** What stands in the store, by id; an object that is not for us stands here with nothing in the store. */
  readonly #held = new Map<string, KubeObject>();
  /** What was said of bad objects. */
  readonly #faults = new Map<string, string>();

  constructor(options: StoreMirrorOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#held.size;
  }

  /** The object, or the equal one that we hold: what a list repeats is not kept twice while the list is read. */
  known(object: ReadObject): ReadObject {
    const held = this.#held.get(object.id);
    if (held === undefined || !('ok' in object.parsed) || !isDeepStrictEqual(held, object.parsed.ok)) return object;
    return { id: object.id, parsed: { ok: held } };
  }

  /** Everything there is. What is not among it goes, after what is new has come (rule S5). */
  replace(objects: ReadonlyMap<string, ReadObject>): void {
    this.#batch(() => {
      for (const object of objects.values()) this.#set(object);
      for (const id of [...this.#held.keys()]) if (!objects.has(id)) this.#delete(id);
      for (const id of [...this.#faults.keys()]) if (!objects.has(id)) this.#faults.delete(id);
    });
  }

  apply(changes: readonly Change[]): void {
    if (changes.length === 0) return;
    this.#batch(() => {
      for (const change of changes) {
        if (change.type === 'set') this.#set(change.object);
        else this.#delete(change.id);
      }
    });
  }

  /** Another resource says the same now. */
  clear(): void {
    this.replace(new Map());
  }

  /** A listener that throws has its objects all the same; it must not cost us the watch. */
  #batch(changes: () => void): void {
    const { store, log, kind } = this.#options;
    try {
      store.batch(changes);
    } catch (err) {
      log.error('a change was not taken up as it should', { kind, err });
    }
  }

  /** A bad object costs itself: its last good version stays. */
  #set({ id, parsed }: ReadObject): void {
    if ('faults' in parsed) {
      this.#sayFaults(
        id,
        parsed.faults.map(({ path, message }) => `${pathText(path)}: ${message}`.replace(/^: /, '')),
      );
      return;
    }
    this.#faults.delete(id);
    const before = this.#held.get(id);
    this.#held.set(id, parsed.ok);
    this.#store(parsed.ok);
    if (before !== undefined) this.#remove(before, parsed.ok);
  }

  #delete(id: string): void {
    this.#faults.delete(id);
    const before = this.#held.get(id);
    if (before === undefined) return;
    this.#held.delete(id);
    this.#remove(before, undefined);
  }

  #store(object: KubeObject): void {
    const { store } = this.#options;
    if (object.kind === 'Service') store.setService(object.service);
    else if (object.kind === 'Node') store.setNode(object.node);
    else for (const slice of object.slices) store.setSlice(slice);
  }

  /** What `before` had in the store and `after` has not. */
  #remove(before: KubeObject, after: KubeObject | undefined): void {
    const { store } = this.#options;
    const stays = new Set(after === undefined ? [] : keysOf(after));
    for (const key of keysOf(before)) {
      if (stays.has(key)) continue;
      if (before.kind === 'Service') store.deleteService(key);
      else if (before.kind === 'Node') store.deleteNode(key);
      else store.deleteSlice(key);
    }
  }

  #sayFaults(id: string, faults: readonly string[]): void {
    const text = faults.join('; ');
    if (this.#faults.get(id) === text) return;
    this.#faults.set(id, text);
    const { log, kind } = this.#options;
    const held = this.#held.has(id);
    log.warn('fault in an object of the API server', {
      key: `${kind} ${id}`,
      object: `${kind} ${printableId(id)}`,
      fault: text,
      inForce: held ? 'the last good version' : 'nothing of it',
    });
  }
}

function keysOf(object: KubeObject): readonly string[] {
  if (object.kind === 'Service') return [object.service.key];
  if (object.kind === 'Node') return [object.node.name];
  return object.slices.map(({ key }) => key);
}

function printableId(id: string): string {
  return /^[\w./-]{1,600}$/.test(id) ? id : JSON.stringify(id.slice(0, 64));
}
