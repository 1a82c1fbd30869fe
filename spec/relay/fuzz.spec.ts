/**
 * Owns the comparison of both engines: the same random scripts, and the same must be seen by clients and backends. A failure names
 * its seed: KPROXY_US_FUZZ_SEED=<seed> runs that one alone, KPROXY_US_FUZZ_COUNT=<n> runs more of them.
 */
import { expect } from 'chai';
import { defaultEngineOptions, type Engine } from '../../lib/relay/engine.js';
import { RelayThreads } from '../../lib/relay/thread/relay-threads.js';
import { nativeFault } from '../support/native.js';
import { Random } from '../support/random.js';
import { play, type Seen } from './fuzz/play.js';
import { randomScript, type Script } from './fuzz/script.js';

/** Connections at once. */
const TOGETHER = 24;
const COUNT = Number(process.env['KPROXY_US_FUZZ_COUNT'] ?? 4);
const FIRST = Number(process.env['KPROXY_US_FUZZ_SEED'] ?? 1);

describe('both engines', () => {
  const engines: { readonly name: string; readonly engine: RelayThreads }[] = [];

  before(async function () {
    nativeFault(this);
    for (const name of ['native', 'portable'] as const) {
      const options = { ...defaultEngineOptions, dialTimeoutMs: 2_000 };
      const events = { log: () => undefined, record: () => undefined };
      const engine = new RelayThreads({ threads: 1, engine: name, options, events });
      await engine.start();
      engines.push({ name, engine });
    }
  });

  after(async () => {
    for (const { engine } of engines) await engine.stop(0);
  });

  for (let seed = FIRST; seed < FIRST + (process.env['KPROXY_US_FUZZ_SEED'] === undefined ? COUNT : 1); seed++) {
    it(`let clients and backends see the same in ${TOGETHER} random connections at once (T2 to T5, T7, T10), seed ${seed}`, async function () {
      this.timeout(60_000);
      const random = new Random(seed);
      const scripts = Array.from({ length: TOGETHER }, () => randomScript(random));
      const seen: string[][] = [];
      for (const { name, engine } of engines) {
        const all = await Promise.all(
          scripts.map((script, index) => playOne(engine, script, seed * 1_000 + 2 * index)),
        );
        for (const [index, one] of all.entries()) {
          const story = () => `${name}, connection ${index}: ${JSON.stringify({ script: scripts[index], seen: one })}`;
          expectRules(scripts[index] as Script, one, story);
        }
        seen.push(all.map((one, index) => comparable(scripts[index] as Script, one)));
      }
      expect(seen[0]).to.deep.equal(seen[1]);
    });
  }
});

function playOne(engine: Engine, script: Script, seed: number): Promise<Seen> {
  return play(engine, `connection-${seed}`, script, seed).catch((error: Error) => {
    throw new Error(`${error.message} in ${JSON.stringify(script)}`, { cause: error });
  });
}

function expectRules(script: Script, { client, backend, outcomes }: Seen, story: () => string): void {
  const reset = [script.client.end, script.backend.end].includes('rst');
  expect(client.true, story()).to.equal(true);
  expect(backend?.true ?? true, story()).to.equal(true);
  const allowed = allowedOutcomes(script);
  expect(Object.keys(outcomes), story()).to.have.length(1);
  expect(allowed, story()).to.include(Object.keys(outcomes)[0]);
  if (script.unreachable) {
    expect(backend, story()).to.equal(undefined);
    expect(client.ending, story()).to.equal('rst');
  } else if (!reset) {
    const all = { true: true, whole: true, ending: 'fin' };
    expect([client, backend], story()).to.deep.equal([all, all]);
  }
}

/** Node's reset of a socket that may still write is a FIN with an RST right behind it: a relay that is quick sees only the FIN. */
function allowedOutcomes(script: Script): readonly string[] {
  const clientResets = script.client.end === 'rst';
  if (script.unreachable) return clientResets ? ['dial-failed', 'client-aborted'] : ['dial-failed'];
  const byClient = clientResets ? ['client-reset', 'client-aborted'] : [];
  const byBackend = script.backend.end === 'rst' ? ['backend-reset'] : [];
  return ['closed', ...byClient, ...byBackend];
}

/** What no race decides: with an RST on the way, how much of the rest arrives is chance. */
function comparable(script: Script, { client, backend, outcomes }: Seen): string {
  const reset = [script.client.end, script.backend.end].includes('rst');
  return JSON.stringify(reset ? [client.true, backend?.true ?? true] : [client, backend, outcomes]);
}
