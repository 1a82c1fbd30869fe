/**
 * Owns the way to the native engine: whether it can run here, and why not.
 *
 *   createNativeEngine -> platform -> koffi -> self-test -> NativeEngine
 */
import { platformFault, requireKoffi } from '../../sys/platform.js';
import type { EngineEvents, EngineOptions } from '../engine.js';
import type { EngineParts, ThreadEngine } from '../thread/thread-engine.js';

/** Rejects with a sentence for the log where the engine cannot run here; nothing stays open then. */
export async function createNativeEngine(
  options: EngineOptions,
  events: EngineEvents,
  parts: EngineParts,
): Promise<ThreadEngine> {
  const fault = platformFault();
  if (fault !== undefined) throw new Error(`the native engine ${fault}`);
  await requireKoffi();
  // These files call libc when they are loaded.
  const { selfTest } = await import('./self-test.js');
  selfTest();
  const { NativeEngine } = await import('./native-engine.js');
  const engine = new NativeEngine(options, events, parts.budget);
  // Node knows nothing of our descriptors: those of a thread that dies would stay open, and hold their ports for ever.
  process.once('exit', () => engine.abandon());
  return engine;
}
