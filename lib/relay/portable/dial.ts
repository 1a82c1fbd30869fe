/** Owns one attempt to reach a backend. */
import { connect, type Socket } from 'node:net';
import type { Backend } from '../../model/backend.js';
import { codeOf } from './context.js';

/** Bytes read or queued before a side counts as slow. */
export const HIGH_WATER_BYTES = 64 * 1024;
export const KEEPALIVE_MS = 60_000;

/** Exactly one of them is called, once, never before `dial` has returned. */
export interface DialResult {
  /** The socket is the receiver's, without any handler: `error` has to be attached before the next turn. */
  readonly connected: (socket: Socket) => void;
  /** With the errno name; `ETIMEDOUT` after `timeoutMs`. */
  readonly failed: (code: string) => void;
}

/** Returns a function that gives the attempt up: nothing is called then. */
export function dial({ host, port }: Backend, timeoutMs: number, result: DialResult): () => void {
  const options = {
    host,
    port,
    allowHalfOpen: true,
    noDelay: true,
    keepAlive: true,
    keepAliveInitialDelay: KEEPALIVE_MS,
    autoSelectFamily: false,
    highWaterMark: HIGH_WATER_BYTES,
  };
  const socket = connect(options);
  const giveUp = (): void => {
    clearTimeout(timer);
    socket.off('connect', onConnect).off('error', onError).on('error', ignore).destroy();
  };
  const onConnect = (): void => {
    clearTimeout(timer);
    socket.off('error', onError);
    result.connected(socket);
  };
  const onError = (error: Error): void => {
    giveUp();
    result.failed(codeOf(error));
  };
  const timer = setTimeout(() => {
    giveUp();
    result.failed('ETIMEDOUT');
  }, timeoutMs);
  socket.once('connect', onConnect).once('error', onError);
  return giveUp;
}

function ignore(): void {}
