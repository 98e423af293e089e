# Reads messages, each after its length in four bytes, and answers each with one line of JSON:
# the leaves that MIME-tools shows, with their names, type and content in base64.
use strict;
use warnings;
use Encode ();
use JSON::PP;
use MIME::Base64;
use MIME::Parser;

binmode STDIN;
$| = 1;
local $SIG{__WARN__} = sub { };
my $json = JSON::PP->new->ascii;

sub leaves {
    my ($entity, $out) = @_;
    if (my @parts = $entity->parts) {
        leaves($_, $out) for @parts;
        return;
    }
    my $body = $entity->bodyhandle or return;
    my $text = $body->as_string;
    my $name = $entity->head->recommended_filename;
    $text = Encode::encode('UTF-8', $text) if utf8::is_utf8($text);
    push @$out, {
        type => lc($entity->mime_type // ''), names => defined $name ? ["$name"] : [], content => encode_base64($text, ''),
    };
}

sub answer {
    my ($raw, $uu) = @_;
    my $parser = MIME::Parser->new;
    $parser->output_to_core(1);
    $parser->tmp_to_core(1);
    $parser->extract_uuencode($uu);
    $parser->decode_headers(0);
    $parser->max_parts(5000);
    my @out;
    eval { leaves($parser->parse_data($raw), \@out); 1 };
    return @out;
}

while (read(STDIN, my $head, 4) == 4) {
    my $n = unpack('N', $head);
    my $raw = '';
    while (length $raw < $n) {
        read(STDIN, $raw, $n - length $raw, length $raw) or exit 1;
    }
    my @out = answer($raw, 0);
    push @out, answer($raw, 1) if $raw =~ /^begin /m;
    print $json->encode(\@out), "\n";
}
