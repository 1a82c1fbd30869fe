/**
 * Owns one relay thread from inside: makes the engine, answers the calls of the host.
 *
 *   Call -> engine -> Answer
 *   events.log, events.record -> host
 */
import { parentPort, workerData } from 'node:worker_threads';
import { errorText } from '../../config/error-text.js';
import { Repeated } from '../../config/repeated.js';
import { ConnectionBudget } from '../budget.js';
import type { Engine, EngineEvents, ListenerSpec } from '../engine.js';
import { type Call, type FromThread, failureOf, type Halt, type ThreadData } from './messages.js';
import { loadEngine } from './thread-engine.js';

const host = parentPort;
if (host === null) throw new Error('a relay thread is started by RelayThreads');
const post = (message: FromThread): void => host.postMessage(message);

const events: EngineEvents = {
  log: (level, message, fields) => post({ kind: 'log', line: [level, message, plain(fields)] }),
  record: (record) => post({ kind: 'record', record }),
};

const { engine: name, options, budget } = workerData as ThreadData;
try {
  const create = await loadEngine(name);
  const engine = await create(options, events, { budget: new ConnectionBudget(budget) });
  host.on('message', (message: Call | Halt) => {
    if (message.method === 'halt') process.exit();
    else void answer(engine, message);
  });
  engine.start?.();
  post({ kind: 'ready', wakeFd: engine.wakeFd });
} catch (error) {
  post({ kind: 'unavailable', message: errorText(error) });
}

async function answer(engine: Engine, call: Call): Promise<void> {
  try {
    post({ kind: 'result', id: call.id, value: await run(engine, call) });
  } catch (error) {
    post({ kind: 'failure', id: call.id, failure: failureOf(error) });
  }
  // Nothing else keeps the thread alive: it ends by itself.
  if (call.method === 'stop') host?.close();
}

function run(engine: Engine, call: Call): Promise<unknown> {
  switch (call.method) {
    case 'open':
      return engine.open(shared(call.args[0]), call.args[1]);
    case 'update':
      return engine.update(...call.args);
    case 'setAffinity':
      return engine.setAffinity(...call.args);
    case 'close':
      return engine.close(...call.args);
    case 'stats':
      return engine.stats();
    case 'stop':
      return engine.stop(...call.args);
  }
}

const texts = new Repeated<string>();

/** A message brings each listener texts of its own, most of which all listeners have in common. */
function shared(spec: ListenerSpec): ListenerSpec {
  const { namespace, service, port, protocol } = spec.servicePort;
  const one = (text: string) => texts.one(text, text);
  return {
    ...spec,
    host: one(spec.host),
    servicePort: { namespace: one(namespace), service, port: one(port), protocol },
  };
}

/** An error crosses as its text: cloning would drop its code and causes, and may throw. */
function plain(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [name, value instanceof Error ? errorText(value) : value]),
  );
}
