/**
 * Owns reading the events of a watch.
 *
 *   line -> parseEvent -> ADDED | MODIFIED | DELETED | BOOKMARK with its object, or ApiError for an ERROR
 */
import { field } from '../objects/raw.js';
import { ApiError, statusError } from './api-error.js';

export interface WatchEvent {
  readonly type: 'set' | 'delete' | 'bookmark';
  readonly object: unknown;
  readonly resourceVersion: string;
  /** Everything there was at the start of a streaming list has been said. */
  readonly endsInitialEvents: boolean;
}

const TYPES: Readonly<Record<string, WatchEvent['type']>> = {
  ADDED: 'set',
  MODIFIED: 'set',
  DELETED: 'delete',
  BOOKMARK: 'bookmark',
};

const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';

export function parseEvent(line: string): WatchEvent {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch (cause) {
    throw new ApiError('BAD_ANSWER', 'an event of the watch is no JSON', { cause });
  }
  const name = field(json, 'type');
  const object = field(json, 'object');
  if (name === 'ERROR') throw statusError(object);
  const type = typeof name === 'string' && Object.hasOwn(TYPES, name) ? TYPES[name] : undefined;
  const resourceVersion = field(object, 'metadata', 'resourceVersion');
  if (type === undefined || typeof resourceVersion !== 'string') {
    throw new ApiError('BAD_ANSWER', 'an event of the watch has no type or no resource version');
  }
  const ends = field(object, 'metadata', 'annotations', INITIAL_EVENTS_END) === 'true';
  return { type, object, resourceVersion, endsInitialEvents: type === 'bookmark' && ends };
}

/**
 * Whether `next` cannot come after `last` in one history. Resource versions are numbers in every server there is, and by
 * KEP-5504 they may be compared; of others nothing is said.
 */
export function runsBackwards(last: string, next: string): boolean {
  if (!/^\d{1,19}$/.test(last) || !/^\d{1,19}$/.test(next)) return false;
  return BigInt(next) < BigInt(last);
}
