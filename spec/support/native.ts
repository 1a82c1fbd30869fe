/** Owns whether libc can be called here: koffi is optional, and the layouts hold for some machines only. */
import { createRequire } from 'node:module';
import type { Context } from 'mocha';
import { platformFault } from '../../lib/sys/platform.js';
import { skipped } from './requires.js';

/** Call first in a `before` hook that is a `function`: skips, or fails where nothing may be skipped, as `requires` does. */
export function nativeFault(context: Context): void {
  const reason = platformFault() ?? koffiFault();
  if (reason === undefined) return;
  if (process.env['KPROXY_US_REQUIRE_ALL'] === '1') throw new Error(`this run must not skip: ${reason}`);
  skipped.push({ title: context.test?.parent?.fullTitle() ?? '?', reason });
  context.skip();
}

/** Call after `nativeFault` in a `before` hook: skips or fails where the kernel or a container forbids io_uring. */
export async function ringFault(context: Context): Promise<void> {
  const { Ring } = await import('../../lib/sys/ring.js');
  try {
    new Ring(1).close();
  } catch (error) {
    const reason = `needs io_uring: ${(error as Error).message}`;
    if (process.env['KPROXY_US_REQUIRE_ALL'] === '1') throw new Error(`this run must not skip: ${reason}`);
    skipped.push({ title: context.test?.parent?.fullTitle() ?? '?', reason });
    context.skip();
  }
}

function koffiFault(): string | undefined {
  try {
    createRequire(import.meta.url)('koffi');
    return undefined;
  } catch {
    return 'needs koffi';
  }
}
