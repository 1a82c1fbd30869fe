/**
 * Owns running wrk and reading what it prints.
 *
 *   ext: wrk -> forwarder -> nginx in the pods; report -> WrkReport
 */
import type { Trial } from '../figure.js';

export interface WrkReport {
  readonly requests: number;
  readonly requestsPerS: number;
  readonly p50Us: number;
  readonly p99Us: number;
}

export interface WrkLoad {
  readonly connections: number;
  readonly headers?: readonly string[];
}

export async function wrk(trial: Trial, load: WrkLoad, seconds: number): Promise<WrkReport> {
  const { host, port } = trial.forwarder.target('http');
  const args = [
    ...['-t1', `-c${load.connections}`, `-d${Math.max(1, Math.round(seconds))}s`, '--latency'],
    ...(load.headers ?? []).flatMap((header) => ['-H', header]),
    `http://${host}:${port}/`,
  ];
  return parseWrk(await trial.stage.lab.ns.ext.must('wrk', args, { timeoutMs: seconds * 1_000 + 20_000 }));
}

/** Throws where a request failed: a forwarder that drops some would look fast. */
export function parseWrk(report: string): WrkReport {
  const failures = /^\s*(Socket errors|Non-2xx).*$/m.exec(report)?.[0].trim();
  if (failures !== undefined) throw new Error(`wrk: ${failures}`);
  const requests = Number(/(\d+) requests in/.exec(report)?.[1]);
  const requestsPerS = Number(/Requests\/sec:\s+([\d.]+)/.exec(report)?.[1]);
  const p50Us = microseconds(/^\s*50%\s+(\S+)$/m.exec(report)?.[1]);
  const p99Us = microseconds(/^\s*99%\s+(\S+)$/m.exec(report)?.[1]);
  if (!(requests > 0) || Number.isNaN(requestsPerS + p50Us + p99Us)) throw new Error(`wrk printed: ${report}`);
  return { requests, requestsPerS, p50Us, p99Us };
}

/** `45.00us`, `1.20ms`, `2.00s`, `1.00m`. */
function microseconds(text: string | undefined): number {
  const [, number, unit = ''] = /^([\d.]+)(us|ms|s|m)$/.exec(text ?? '') ?? [];
  return Number(number) * ({ us: 1, ms: 1e3, s: 1e6, m: 6e7 }[unit] ?? Number.NaN);
}
