/**
 * Owns what a spec needs from the machine. A spec that cannot run here is skipped with the reason in the report; where
 * KPROXY_US_REQUIRE_ALL=1 is set (CI), the same is a failure.
 */
import { accessSync, constants } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Context } from 'mocha';

/** `root`, `ipv6` (a loopback address of it), or the name of a program on the PATH. */
export type Need = 'root' | 'ipv6' | (string & {});

/** The first unmet need as a reason, or undefined. */
export function missing(needs: readonly Need[]): string | undefined {
  for (const need of needs) {
    const reason = check(need);
    if (reason !== undefined) return reason;
  }
  return undefined;
}

/** Call first in a `before` hook or test that is a `function`: skips or fails it where a need is unmet. */
export function requires(context: Context, ...needs: readonly Need[]): void {
  const reason = missing(needs);
  if (reason === undefined) return;
  if (process.env['KPROXY_US_REQUIRE_ALL'] === '1') throw new Error(`this run must not skip: ${reason}`);
  skipped.push({ title: context.test?.parent?.fullTitle() ?? context.test?.fullTitle() ?? '?', reason });
  context.skip();
}

/** What was skipped and why, for the reporter. */
export const skipped: { readonly title: string; readonly reason: string }[] = [];

function check(need: Need): string | undefined {
  if (need === 'root') return process.getuid?.() === 0 ? undefined : 'needs root';
  if (need === 'ipv6') return hasIpv6() ? undefined : 'needs IPv6 on loopback';
  return onPath(need) ? undefined : `needs ${need}`;
}

function hasIpv6(): boolean {
  return Object.values(networkInterfaces()).some((all) => all?.some((one) => one.address === '::1'));
}

function onPath(program: string): boolean {
  const path = `${process.env['PATH'] ?? ''}${delimiter}/usr/sbin${delimiter}/sbin`;
  return path.split(delimiter).some((dir) => {
    try {
      accessSync(join(dir, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
