/** Owns what a relay thread asks of an engine beyond `Engine`, and how an engine is found by its name. */
import type { ConnectionBudget } from '../budget.js';
import type { Engine, EngineEvents, EngineOptions } from '../engine.js';

export type EngineName = 'native' | 'portable';

/** What an engine shares with those of other threads. */
export interface EngineParts {
  readonly budget: ConnectionBudget;
}

export interface ThreadEngine extends Engine {
  /**
   * For an engine that blocks its thread: a descriptor (eventfd) that ends the wait when 8 bytes are written to it. The host writes
   * after every message; the engine then has to let Node's own loop run once, so that the message is delivered.
   */
  readonly wakeFd?: number;
  /** Called once, when messages can be received: begins to block the thread. */
  start?(): void;
}

/** May reject: the engine cannot run here. */
export type CreateEngine = (
  options: EngineOptions,
  events: EngineEvents,
  parts: EngineParts,
) => ThreadEngine | Promise<ThreadEngine>;

/** Each is loaded only where it is wanted: native needs an optional dependency. */
const MODULES: Readonly<Record<EngineName, { readonly path: string; readonly create: string }>> = {
  portable: { path: '../portable/engine.js', create: 'createPortableEngine' },
  native: { path: '../native/engine.js', create: 'createNativeEngine' },
};

export async function loadEngine(name: EngineName): Promise<CreateEngine> {
  const { path, create } = MODULES[name];
  const loaded: Readonly<Record<string, unknown>> = await import(path);
  const found = loaded[create];
  if (typeof found !== 'function') throw new TypeError(`${path} has no ${create}`);
  return found as CreateEngine;
}
