/**
 * Owns how V8 keeps its heaps: small, since this process shares its node with what it serves.
 *
 *   keepHeapsSmall -> threads made, threadLimits -> setHeapFlags again -> lists are read, synced -> collectGarbage -> pages go back
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { ResourceLimits } from 'node:worker_threads';

/**
 * By itself V8 lets the young generation of each thread grow to 32 MB while lists are read, and the old one to several times what
 * is alive, and gives neither back while there is work. It reads these whenever they matter, not at its start alone.
 */
const FLAGS: readonly string[] = [
  // The young generation of the main thread stays as it is.
  '--semi-space-growth-factor=1',
  '--optimize-for-size',
  // How far the old generation grows beyond what is alive before it is collected; V8 does not go below 8 MB.
  '--heap-growing-percent=20',
];
/** A semi-space of 1 MB: V8 counts three of them as the young generation. */
const THREAD_LIMITS: ResourceLimits = { maxYoungGenerationSizeMb: 3 };

/** True where the operator has chosen the size of the young generation: then all is left as V8 has it. */
export function isChosen(given: readonly string[]): boolean {
  return /--(max|min)?-?semi-space-/.test(given.join(' ').replaceAll('_', '-'));
}

let small = false;

/**
 * To be called first: what the young generation has grown to it keeps. With any flag set Node compiles its own modules anew, which costs a
 * start some 0.1 s; set when all is loaded, the flags leave 10 MB more.
 */
export function keepHeapsSmall(): void {
  small = !isChosen([...process.execArgv, process.env['NODE_OPTIONS'] ?? '']);
  setHeapFlags();
}

/** For a thread that is made. */
export function threadLimits(): ResourceLimits {
  return small ? THREAD_LIMITS : {};
}

/** To be called again when a thread has started: V8 takes a growth factor below 2 back whenever it makes a heap. */
export function setHeapFlags(): void {
  if (small) for (const flag of FLAGS) setFlagsFromString(flag);
}

/**
 * Collects all garbage of this thread: for the moment after many objects have been read, which does not come often. Takes some
 * 10 ms for every 20 MB that are alive.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('globalThis.gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect === 'function') collect();
}
