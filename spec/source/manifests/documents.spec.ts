import { expect } from 'chai';
import { type Document, readDocument, splitDocuments } from '../../../lib/source/manifests/documents.js';

function okOf(document: Document): unknown {
  if ('value' in document) return document.value;
  throw new Error(`line ${document.place.line}, column ${document.place.column}: ${document.fault}`);
}

function faultOf(document: Document): string {
  if ('value' in document) throw new Error('expected a fault');
  return `${document.place.line}:${document.place.column}: ${document.fault}`;
}

function placesOf(document: Document, ...paths: (string | number)[][]): readonly string[] {
  if (!('value' in document)) throw new Error(document.fault);
  return document.placesOf(paths).map(({ line, column }) => `${line}:${column}`);
}

describe('cutting a file into documents', () => {
  for (const [title, text, expected] of [
    ['one document without a marker', 'a: 1\n', [['a: 1\n', 1]]],
    [
      'several',
      'a: 1\n---\nb: 2\n---\nc: 3',
      [
        ['a: 1\n', 1],
        ['---\nb: 2\n', 2],
        ['---\nc: 3', 4],
      ],
    ],
    [
      'content behind a marker',
      '--- {a: 1}\n--- {b: 2}\n',
      [
        ['--- {a: 1}\n', 1],
        ['--- {b: 2}\n', 2],
      ],
    ],
    [
      'Windows line ends',
      'a: 1\r\n---\r\nb: 2\r\n',
      [
        ['a: 1\r\n', 1],
        ['---\r\nb: 2\r\n', 2],
      ],
    ],
    [
      'end markers',
      'a: 1\n...\nb: 2\n...',
      [
        ['a: 1\n...\n', 1],
        ['b: 2\n...', 3],
      ],
    ],
    [
      'empty documents and comments',
      '# head\n---\n---\n# none\n--- # one\n\na: 1\n---\n',
      [['--- # one\n\na: 1\n', 5]],
    ],
    ['directives', '%YAML 1.1\n---\na: 1\n', [['---\na: 1\n', 2]]],
    ['what only looks like a marker', 'a: |\n  x\n  ---\n----\n---a\n', [['a: |\n  x\n  ---\n----\n---a\n', 1]]],
    ['nothing', '', []],
  ] as const) {
    it(`finds ${title}`, () => {
      expect(splitDocuments(text).map((piece) => [piece.text, piece.line])).to.deep.equal(expected);
    });
  }
});

describe('reading a document', () => {
  it('reads YAML 1.2 as JSON values', () => {
    const text = 'a: 1\nb: [x, "80", true, null, ~, 1.5, 0x10]\nc:\n  d: |\n    two\n    lines\non: yes\n';
    expect(okOf(readDocument(text))).to.deep.equal({
      a: 1,
      b: ['x', '80', true, null, null, 1.5, 16],
      c: { d: 'two\nlines\n' },
      on: 'yes',
    });
  });

  it('resolves aliases and merge keys, what is written beside a merge key first', () => {
    const text =
      'base: &base {a: 1, b: 1}\nmore: &more {b: 2, c: 2}\nuse:\n  b: 0\n  <<: [*base, *more]\nsame: *base\n';
    expect(okOf(readDocument(text))).to.deep.include({ use: { a: 1, b: 0, c: 2 }, same: { a: 1, b: 1 } });
  });

  it('takes the latest anchor of a name', () => {
    expect(okOf(readDocument('- &a 1\n- *a\n- &a 2\n- *a\n'))).to.deep.equal([1, 1, 2, 2]);
  });

  it('gives __proto__ and constructor no way to a prototype', () => {
    const value = okOf(
      readDocument(
        '__proto__: {polluted: 1}\n<<: {__proto__: {polluted: 2}}\nconstructor: {prototype: {polluted: 3}}\n',
      ),
    );
    expect(Object.getPrototypeOf(value)).to.equal(Object.prototype);
    expect({}).not.to.have.property('polluted');
    expect(value).not.to.have.property('polluted');
  });

  for (const [title, text, fault] of [
    ['an open quote', 'a: "x\nb: 1\n', /^3:1: expected YAML: Missing closing "quote/],
    ['a tab for space', 'a:\n\tb: 1\n', /^2:1: expected YAML: Tabs are not allowed as indentation/],
    ['a key that stands twice', 'a: 1\nb: 2\na: 3\n', /^3:1: expected "a" once, got it again/],
    ['a key that is a list', '? [a]\n: b\n', /^1:3: expected a word as key/],
    ['an alias without anchor', 'a: 1\nb: *c\n', /^2:4: expected an anchor before this alias, got \*"c"/],
    ['a value that contains itself', 'a: &a [*a]\n', /^1:8: expected an anchor before this alias/],
    ['JSON cut short', '{\n  "a": 1,\n  "b": {', /^3:9: expected JSON: /],
    ['JSON without a comma', '{\n  "a": 1\n  "b": 2\n}', /^3:3: expected JSON: Expected ',' or '}'/],
    ['JSON cut in a word', '{"a": tru', /^1:10: expected YAML: Flow map must end with a }/],
    ['deep lists', '['.repeat(100_000), /expected at most 200 levels, got more/],
    ['deep blocks', '- '.repeat(20_000), /expected at most 200 levels, got more/],
    ['deep maps', `a: ${'{a: '.repeat(300)}1${'}'.repeat(300)}`, /expected at most 200 levels, got more/],
  ] as const) {
    it(`places the fault of ${title} (C1)`, () => {
      expect(faultOf(readDocument(text))).to.match(fault);
    });
  }

  it('reads what is nested almost as deep as allowed', () => {
    for (const text of [
      `${'['.repeat(190)}${']'.repeat(190)}`,
      '- '.repeat(190),
      `${'[a: '.repeat(190)}1${']'.repeat(190)}`,
    ]) {
      okOf(readDocument(`# YAML\n${text}`));
    }
  });

  const letters = [...'abcdefghijklmnopqrstuvwxyz'];
  for (const [title, wrap] of [
    ['lists', (inner: string) => `[${inner}]`],
    ['merge keys', (inner: string) => `{<<: [${inner}]}`],
    [
      'maps',
      (inner: string) =>
        `{${inner
          .split(',')
          .map((alias, index) => `k${index}: ${alias} `)
          .join(',')}}`,
    ],
  ] as const) {
    it(`ends a bomb of aliases in ${title} (C2)`, () => {
      const lines = letters
        .slice(1)
        .map((letter, index) => `${letter}: &${letter} ${wrap(Array(10).fill(`*${letters[index]}`).join(','))}`);
      const startedAtMs = performance.now();
      expect(faultOf(readDocument(`a: &a {x: 1}\n${lines.join('\n')}\n`))).to.contain(
        'aliases to stand for at most 100000 values',
      );
      expect(performance.now() - startedAtMs).to.be.below(2_000);
    });
  }

  it('refuses a YAML document of more than 4 Mi characters, and reads JSON of that size (C2)', () => {
    const long = 'x'.repeat(4 * 1024 * 1024);
    expect(faultOf(readDocument(`a: ${long}`))).to.contain('split it at ---');
    expect(okOf(readDocument(`{"a": "${long}"}`))).to.deep.equal({ a: long });
  });

  it('prints no control characters of the input in a fault (C1)', () => {
    expect(faultOf(readDocument('{"a": 1} \u001b[31m\u0007'))).to.match(/^[^\p{Cc}]*$/u);
  });

  for (const [format, text] of [
    ['YAML', 'spec:\n  ports:\n    - port: 0\n    - name: x\n      port: 1\nlast: "é"\n'],
    ['JSON', '{"spec":\n  {"ports":\n    [ {"port": 0},\n    {"name": "x\\"]",\n      "port": 1}]\n},\n"last": "é"}'],
  ] as const) {
    it(`finds fields of ${format} again (C1)`, () => {
      const found = placesOf(
        readDocument(text),
        [],
        ['spec', 'ports', 0, 'port'],
        ['spec', 'ports', 1, 'port'],
        ['last'],
        ['none'],
        ['spec', 'ports', 1, 'none', 0],
      );
      const expected = {
        YAML: ['1:1', '3:13', '5:13', '6:7', '1:1', '4:7'],
        JSON: ['1:1', '3:16', '5:15', '7:9', '1:1', '4:5'],
      };
      expect(found).to.deep.equal(expected[format]);
    });
  }
});
