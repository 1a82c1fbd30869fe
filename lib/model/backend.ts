/**
 * Owns the name of where a connection or flow may be relayed to: what balancing chooses among and engines dial; and a set of
 * them as one text, which is what is kept of thousands of listeners, most of which nobody dials.
 *
 *   Backend[] -> packBackends -> `10.0.0.5:6379 [fd00::a]:6379` -> unpackBackends -> Backend[]
 */
import { hostPort, type Ip } from '../config/address.js';

export interface Backend {
  readonly host: Ip;
  readonly port: number;
}

/** `10.0.0.5:6379`: two backends of one key are one backend. */
export type BackendKey = string;

export function backendKey(backend: Backend): BackendKey {
  return hostPort(backend.host, backend.port);
}

/** Keys, each once, with a space between them; '' for none. A tenth of the memory that as many objects take. */
export type PackedBackends = string;

/** A set as a caller has it at hand. */
export type Backends = readonly Backend[] | PackedBackends;

export function packBackends(backends: Backends): PackedBackends {
  if (typeof backends === 'string') return backends;
  return [...new Set(backends.map(backendKey))].join(' ');
}

export function unpackBackends(packed: PackedBackends): readonly Backend[] {
  return keysOf(packed).map((key) => {
    const colon = key.lastIndexOf(':');
    const host = key.startsWith('[') ? key.slice(1, colon - 1) : key.slice(0, colon);
    return { host, port: Number(key.slice(colon + 1)) };
  });
}

export function keysOf(packed: PackedBackends): readonly BackendKey[] {
  return packed === '' ? [] : packed.split(' ');
}

export function countBackends(packed: PackedBackends): number {
  if (packed === '') return 0;
  let count = 1;
  for (let at = packed.indexOf(' '); at >= 0; at = packed.indexOf(' ', at + 1)) count++;
  return count;
}
