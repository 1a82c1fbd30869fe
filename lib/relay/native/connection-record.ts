/**
 * Owns what is told of a connection when it ends (rule H5).
 *
 *   columns of the slot, how it ended -> recordOf -> ConnectionRecord -> access log
 */
import { hostPort } from '../../config/address.js';
import { type ConnectionRecord, OUTCOMES } from '../engine.js';
import { type Connections, ESTABLISHED } from './connections.js';

/** Before its descriptors are closed and its slot is free; undefined where the slot has no connection. */
export function recordOf(connections: Connections, slot: number, how: number): ConnectionRecord | undefined {
  const listener = connections.listener[slot];
  const outcome = OUTCOMES[how];
  if (listener === undefined || outcome === undefined) return undefined;
  const durationMs = performance.now() - (connections.acceptedAt[slot] ?? 0);
  return {
    startedAt: Date.now() - durationMs,
    durationMs,
    servicePort: listener.spec.servicePort,
    client: hostPort(connections.client[slot] ?? '', connections.clientPort[slot] ?? 0),
    listener: hostPort(listener.spec.host, listener.port),
    backend: connections.state[slot] === ESTABLISHED ? (connections.target[slot]?.key ?? '') : '',
    bytesUp: connections.bytes[2 * slot] ?? 0,
    bytesDown: connections.bytes[2 * slot + 1] ?? 0,
    attempts: connections.attempts[slot] ?? 0,
    outcome,
  };
}
