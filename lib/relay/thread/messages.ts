/**
 * Owns what a relay thread and its host say to each other: plain values that can be cloned.
 *
 *   host -> Call -> thread -> Answer -> host
 *   thread -> Ready | Unavailable, then log lines and records, unasked
 */
import type { SharedBudget } from '../budget.js';
import { type ConnectionRecord, type Engine, type EngineEvents, type EngineOptions, ListenError } from '../engine.js';
import type { EngineName } from './thread-engine.js';

export type Method = keyof Engine;
export type Arguments<M extends Method> = Parameters<Engine[M]>;
export type Result<M extends Method> = Awaited<ReturnType<Engine[M]>>;

/** `workerData` of a thread. */
export interface ThreadData {
  readonly engine: EngineName;
  readonly options: EngineOptions;
  readonly budget: SharedBudget;
}

export type Call = {
  readonly [M in Method]: { readonly id: number; readonly method: M; readonly args: Arguments<M> };
}[Method];

/** Ends the thread at once, connections and all. */
export type Halt = { readonly method: 'halt' };

/** `code` of a `ListenError`; undefined for any other failure. */
export interface Failure {
  readonly code: string | undefined;
  readonly message: string;
}

export type Answer =
  | { readonly kind: 'result'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'failure'; readonly id: number; readonly failure: Failure };

export type FromThread =
  | Answer
  /** The engine runs. `wakeFd` is to be written to after every message. */
  | { readonly kind: 'ready'; readonly wakeFd: number | undefined }
  /** The engine cannot run here; the thread ends. */
  | { readonly kind: 'unavailable'; readonly message: string }
  | { readonly kind: 'log'; readonly line: Parameters<EngineEvents['log']> }
  | { readonly kind: 'record'; readonly record: ConnectionRecord };

export function failureOf(error: unknown): Failure {
  const message = error instanceof Error ? error.message : String(error);
  return { code: error instanceof ListenError ? error.code : undefined, message };
}

export function errorOf({ code, message }: Failure): Error {
  return code === undefined ? new Error(message) : new ListenError(code, message);
}
