/**
 * Owns what passes between the main thread and a relay thread: plain values that a structured clone carries.
 *
 *   RelayThread -> Call -> worker -> Engine
 *               <- Reply, Event   <-
 */
import type { EngineChoice } from '../../config/options.js';
import type { Backend } from '../../model/backend.js';
import {
  type ConnectionRecord,
  type EngineOptions,
  ListenError,
  type ListenerKey,
  type ListenerSpec,
} from '../engine.js';

/** What a worker is started with. */
export interface WorkerStart {
  readonly engine: EngineChoice;
  readonly options: EngineOptions;
}

/** One call of the `Engine` interface. */
export type Call =
  | { readonly op: 'open'; readonly listener: ListenerSpec; readonly backends: readonly Backend[] }
  | { readonly op: 'update'; readonly key: ListenerKey; readonly backends: readonly Backend[] }
  | { readonly op: 'setAffinity'; readonly key: ListenerKey; readonly affinityTimeoutMs: number | undefined }
  | { readonly op: 'close'; readonly key: ListenerKey; readonly drainMs: number }
  | { readonly op: 'stats' }
  | { readonly op: 'stop'; readonly drainMs: number };

export interface Request {
  readonly id: number;
  readonly call: Call;
}

export type FromWorker =
  /** The engine is made, and takes calls. */
  | { readonly kind: 'ready'; readonly engine: string }
  | { readonly kind: 'value'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly error: SentError }
  | {
      readonly kind: 'log';
      readonly level: LogLevel;
      readonly message: string;
      readonly fields: Record<string, unknown>;
    }
  | { readonly kind: 'record'; readonly record: ConnectionRecord };

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** A structured clone of an Error loses its class and its own fields. */
export interface SentError {
  readonly name: string;
  readonly message: string;
  readonly code: string | undefined;
}

export function packError(error: unknown): SentError {
  const { name, message, code }: NodeJS.ErrnoException = error instanceof Error ? error : new Error(String(error));
  return { name, message, code };
}

export function unpackError({ name, message, code }: SentError): Error {
  if (name === 'ListenError') return new ListenError(code ?? 'EINVAL', message);
  return new Error(`${name}: ${message}`);
}
