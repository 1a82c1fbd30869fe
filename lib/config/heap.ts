/**
 * Owns how V8 keeps its heaps: small, since this process shares its node with what it serves.
 *
 *   start -> keepHeapsSmall -> lists are read, synced -> collectGarbage -> pages go back to the system
 */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/**
 * By itself V8 lets the young generation of each thread grow to 32 MB while lists are read, and the old one to several times what
 * is alive, and gives neither back while there is work. It reads these whenever they matter, not at its start alone.
 */
const FLAGS: readonly string[] = [
  // For the heaps of threads made later.
  '--max-semi-space-size=1',
  // For that of the main thread, which was made before: it stays at 1 MB.
  '--semi-space-growth-factor=1',
  '--optimize-for-size',
  // How far the old generation grows beyond what is alive before it is collected; V8 does not go below 8 MB.
  '--heap-growing-percent=20',
];

/** What is set, beside what the operator asked of V8: a young generation of a chosen size has it. */
export function flagsBeside(given: readonly string[]): readonly string[] {
  return /--(max|min)?-?semi-space-/.test(given.join(' ').replaceAll('_', '-')) ? [] : FLAGS;
}

let flags: readonly string[] = [];

/** To be called before anything is read and before threads are made. */
export function keepHeapsSmall(): void {
  flags = flagsBeside([...process.execArgv, process.env['NODE_OPTIONS'] ?? '']);
  keepHeapsSmallStill();
}

/** To be called when a thread has started: V8 takes a growth factor below 2 back whenever it makes a heap. */
export function keepHeapsSmallStill(): void {
  for (const flag of flags) setFlagsFromString(flag);
}

/**
 * Collects all garbage of this thread: for the moment after many objects have been read, which does not come often. Takes some
 * 10 ms for every 20 MB that are alive.
 */
export function collectGarbage(): void {
  setFlagsFromString('--expose-gc');
  const collect: unknown = runInNewContext('gc');
  setFlagsFromString('--no-expose-gc');
  if (typeof collect === 'function') collect();
}
