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

function koffiFault(): string | undefined {
  try {
    createRequire(import.meta.url)('koffi');
    return undefined;
  } catch {
    return 'needs koffi';
  }
}
