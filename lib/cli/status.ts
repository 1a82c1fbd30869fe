/**
 * Owns `kproxy-us status`: asks a running process what it has open, and shows it.
 *
 *   GET /status -> StatusReport -> table | JSON
 */
import { hostPort } from '../config/address.js';
import { errorText } from '../config/error-text.js';
import type { HostPort } from '../config/options.js';
import type { ListenerReport, StatusReport } from '../status/report.js';
import type { ExitCode } from './exit-code.js';
import { fetchReport } from './fetch-report.js';
import { few, table } from './table.js';

export async function status(at: HostPort, output: 'table' | 'json'): Promise<ExitCode> {
  const address = hostPort(at.host, at.port);
  try {
    const report = await fetchReport(at);
    process.stdout.write(output === 'json' ? `${JSON.stringify(report, null, 2)}\n` : reportText(report));
    return 0;
  } catch (err) {
    const hint = 'is kproxy-us running, and with this --metrics-bind-address?';
    process.stderr.write(`error: no status from ${address}: ${errorText(err)}\n${hint}\n`);
    return 1;
  }
}

export function reportText(report: StatusReport): string {
  const { sync, listeners } = report;
  const pending = sync.serviceChangesPending + sync.endpointChangesPending;
  const facts = [
    `kproxy-us ${report.version}, pid ${report.pid}, node ${report.node}, ${healthText(report)}`,
    `engine ${report.engine === '' ? 'NOT ANSWERING' : report.engine}, redirect ${report.redirect}`,
    `last sync ${sync.lastSyncedAt ?? 'never'}, ${pending} changes pending, ${report.draining} connections draining`,
    ...sync.faults.map(
      (fault) => `NOT LISTENING: ${fault.servicePort} on ${fault.listener}: ${fault.message}: ${fault.code}`,
    ),
  ];
  const header = ['SERVICE PORT', 'KIND', 'CLIENTS DIAL', 'LISTENER', 'ACTIVE', 'TOTAL', 'UP', 'DOWN', 'BACKENDS'];
  return `${facts.join('\n')}\n\n${table(header, listeners.map(row))}`;
}

function row(report: ListenerReport): readonly (string | number)[] {
  const { servicePort, kind, listener, listening, active, total, bytesUp, bytesDown, backends } = report;
  const place = listening ? listener : `${listener} (closed)`;
  const kindText = kind === 'nodePort' ? 'node port' : 'redirect';
  return [servicePort, kindText, dialled(report), place, active, total, bytesUp, bytesDown, few(backends)];
}

/** What clients dial to get there, whether or not they are let in. */
function dialled({ kind, frontends, rejected, listener }: ListenerReport): string {
  if (kind === 'nodePort') return listener;
  return rejected.length > 0 ? `${few(rejected, 2)} (refused)` : few(frontends, 2);
}

/** Why, where it is not: what waits and since when, and what may be the cause. */
function healthText({ healthy, sync }: StatusReport): string {
  if (healthy) return 'healthy';
  const waits = sync.oldestPendingAt === undefined ? '' : `, a change waits since ${sync.oldestPendingAt}`;
  return `NOT HEALTHY${waits}, ${sync.faults.length} ports not bound`;
}
