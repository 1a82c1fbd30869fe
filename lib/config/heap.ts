/**
 * Owns how V8 keeps its heaps: small, since this process shares its node with what it serves.
 *
 *   start -> keepHeapsSmall -> lists are read, synced -> collectGarbage -> pages go back to the system
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * By itself V8 lets the young generation grow to 32 MB in each thread while a list is read, and the old one to several times what
 * is alive, and gives neither back as long as there is work. All of these are read by V8 whenever they matter, not at its start alone.
 */
const FLAGS = [
  // Of threads made later, and of the main one not to grow beyond its first size of 1 MB.
  '--max-semi-space-size=1',
  '--semi-space-growth-factor=1',
  '--optimize-for-size',
  // The old generation is collected when it has grown by this much.
  '--heap-growing-percent=20',
];

/** To be called before anything is read and before threads are made. What the operator asked of V8 stands. */
export function keepHeapsSmall(
  given: readonly string[] = [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''],
): void {
  const words = given.join(' ').replaceAll('_', '-');
  if (/--(max|min)-semi-space-size|--max-old-space-size/.test(words)) return;
  areSmall = true;
  for (const flag of FLAGS) setFlagsFromString(flag);
}

let areSmall = false;

/** To be called when a thread has started: V8 takes a growth factor below 2 back whenever it makes a heap. */
export function keepHeapsSmallStill(): void {
  if (areSmall) for (const flag of FLAGS) setFlagsFromString(flag);
}

/**
 * Collects the garbage of this thread, whole: for the moment after many objects have been read, which does not come often. Takes
 * some 10 ms for every 20 MB that are alive.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect === 'function') collect();
}
