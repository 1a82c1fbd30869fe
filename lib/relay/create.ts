/** Owns the choice of an engine by its name on the command line. */
import type { EngineChoice } from '../config/options.js';
import type { Engine, EngineEvents, EngineOptions } from './engine.js';

/** Code of an engine is loaded only where it is used. */
export async function createEngine(
  choice: EngineChoice,
  options: EngineOptions,
  events: EngineEvents,
): Promise<Engine> {
  if (choice === 'native') throw new Error('--engine native is not built yet: use portable or auto');
  const { createPortableEngine } = await import('./portable/engine.js');
  return createPortableEngine(options, events);
}
