/**
 * Owns a run of the benchmarks: who takes part, in which order, and where the tables go.
 *
 *   for each figure, each round, each forwarder in shuffled order: start -> warm up, measure -> stop; then tables
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus, release } from 'node:os';
import { missing } from '../spec/support/requires.js';
import type { Figure } from './figure.js';
import { bulk } from './figures/bulk.js';
import { close } from './figures/close.js';
import { dns } from './figures/dns.js';
import { idle } from './figures/idle.js';
import { keep } from './figures/keep.js';
import { latency } from './figures/latency.js';
import type { Forwarder } from './forwarder.js';
import { direct } from './forwarders/direct.js';
import { haproxy } from './forwarders/haproxy.js';
import { kproxyUsNative, kproxyUsPortable } from './forwarders/kproxy-us.js';
import { nginx } from './forwarders/nginx.js';
import { plain } from './forwarders/plain.js';
import { type BenchOptions, parseOptions, USAGE } from './options.js';
import { openStage, type Stage } from './stage.js';
import { figureTable, Results } from './table.js';
import { systemCpu } from './usage.js';

const FIGURES: readonly Figure[] = [bulk, close, keep, dns, latency, idle];
const FORWARDERS: readonly Forwarder[] = [direct, haproxy, nginx, plain, kproxyUsPortable, kproxyUsNative];
const RESULTS = 'bench/results';

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  const figures = chosen('--only', FIGURES, options.figures);
  const forwarders = chosen('--forwarders', FORWARDERS, options.forwarders);
  const unmet = missing(['root', 'ip', 'ss', 'setpriv', 'nginx']);
  if (unmet !== undefined) throw new Error(`the benchmarks cannot run: ${unmet}`);
  // `exit` handlers take the lab down.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => process.exit(130));

  const busyBefore = await busyPercent(1_000);
  const stage = await openStage(options.congestionControl);
  const results = new Results();
  try {
    const present = await able(stage, forwarders, results);
    for (const figure of figures) await runFigure(stage, figure, present, options, results);
    await report(figures, present, options, results, busyBefore, stage.congestionControl);
  } finally {
    await stage.close();
  }
}

function chosen<T extends { readonly name: string }>(flag: string, all: readonly T[], names?: readonly string[]): T[] {
  const unknown = names?.find((name) => !all.some((one) => one.name === name));
  if (unknown !== undefined) {
    throw new RangeError(`${flag} ${unknown}: expected some of ${all.map(({ name }) => name).join(', ')}`);
  }
  return all.filter(({ name }) => names === undefined || names.includes(name));
}

/** Those that start here. */
async function able(stage: Stage, forwarders: readonly Forwarder[], results: Results): Promise<Forwarder[]> {
  const present: Forwarder[] = [];
  for (const forwarder of forwarders) {
    const unmet = missing(forwarder.needs);
    try {
      if (unmet !== undefined) throw new Error(unmet);
      await (await forwarder.start(stage)).stop();
      present.push(forwarder);
    } catch (error) {
      note(results, `${forwarder.name} left out: ${(error as Error).message}`);
    }
  }
  return present;
}

async function runFigure(
  stage: Stage,
  figure: Figure,
  forwarders: readonly Forwarder[],
  options: BenchOptions,
  results: Results,
): Promise<void> {
  const unmet = missing(figure.needs);
  if (unmet !== undefined) return note(results, `${figure.name} left out: ${unmet}`);
  const able = forwarders.filter(
    (forwarder) =>
      forwarder.protocols.includes(figure.protocol) && !(figure.ofProcess === true && forwarder === direct),
  );
  for (let round = 1; round <= options.rounds; round++) {
    for (const forwarder of shuffled(able)) {
      try {
        const running = await forwarder.start(stage);
        try {
          const sample = await figure.measure({ stage, forwarder: running, ...options });
          results.add(figure, forwarder, sample);
          print(`${figure.name} ${round}/${options.rounds} ${forwarder.name}: ${JSON.stringify(sample)}`);
        } finally {
          await running.stop();
        }
      } catch (error) {
        results.add(figure, forwarder, undefined);
        note(results, `${figure.name}, round ${round}, ${forwarder.name} failed: ${(error as Error).message}`);
      }
      await stage.sweep();
    }
  }
}

async function report(
  figures: readonly Figure[],
  forwarders: readonly Forwarder[],
  options: BenchOptions,
  results: Results,
  busyBefore: number,
  congestionControl: string,
): Promise<void> {
  const cores = cpus();
  const machine = `${cores.length} cores (${cores[0]?.model ?? 'unknown'}), Linux ${release()}, Node ${process.version}`;
  const head = [
    `Machine: ${machine}; ${busyBefore.toFixed(0)} % busy before the run. TCP: ${congestionControl}.`,
    `Medians of ${options.rounds} rounds of ${options.measureS} s, forwarders in shuffled order, all on the same cores.`,
  ];
  const tables = figures.map((figure) => figureTable(figure, forwarders, results));
  const about = forwarders.map((forwarder) => `- ${forwarder.name}: ${forwarder.about}`);
  const notes = results.notes.length === 0 ? [] : ['', ...results.notes.map((text) => `- Note: ${text}`)];
  const markdown = `${head.join('\n')}\n\n${tables.join('\n')}\n${[...about, ...notes].join('\n')}\n`;
  await mkdir(RESULTS, { recursive: true });
  const file = `${RESULTS}/${new Date().toISOString().replaceAll(':', '-').slice(0, 19)}`;
  await writeFile(`${file}.md`, markdown);
  await writeFile(
    `${file}.json`,
    JSON.stringify({ options, samples: Object.fromEntries(results.samples) }, undefined, 1),
  );
  process.stdout.write(`\n${markdown}\nWritten to ${file}.md and .json\n`);
}

/** Fisher-Yates. */
function shuffled<T>(all: readonly T[]): T[] {
  const order = [...all];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j] as T, order[i] as T];
  }
  return order;
}

/** How much of the machine others take: absolute figures of a busy one mean little. */
async function busyPercent(forMs: number): Promise<number> {
  const before = await systemCpu();
  await new Promise((resolve) => setTimeout(resolve, forMs));
  const after = await systemCpu();
  return (100 * (after.busyS - before.busyS)) / (after.totalS - before.totalS);
}

function note(results: Results, text: string): void {
  results.notes.push(text);
  print(text);
}

function print(line: string): void {
  process.stderr.write(`${line}\n`);
}

try {
  await main();
} catch (error) {
  const text = error instanceof RangeError || error instanceof TypeError ? `${error.message}\n${USAGE}` : String(error);
  process.stderr.write(`${text}\n`);
  process.exitCode = 2;
}
